// SPDX-License-Identifier: GPL-2.0
/*
 * Where the program of a task is, as the host sees it, and its control group. In C because references
 * to dentries, the root of a process, the lock of a task and the control group of one are inline
 * functions.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/user_namespace.h>

struct file *portcullis_exe_of(struct task_struct *task);
void portcullis_no_program(struct file *file);
int portcullis_way_to(const struct file *exe, char *buffer, size_t size);
int portcullis_cgroup_of(struct task_struct *task, char *buffer, size_t size);

/*
 * The file that a task executes, with a reference, or NULL: get_task_exe_file(), which is not exported.
 * And NULL if it was not execve() that made it so: prctl(PR_SET_MM_EXE_FILE) takes a file that was
 * opened by a process, and no process can open one with this flag. It can be handed one, by binfmt_misc:
 * see portcullis_no_program().
 */
struct file *portcullis_exe_of(struct task_struct *task)
{
	struct file *exe = NULL;

	if (task->flags & PF_KTHREAD)
		return NULL;
	task_lock(task);
	if (task->mm) {
		rcu_read_lock();
		exe = get_file_rcu(&task->mm->exe_file);
		rcu_read_unlock();
	}
	task_unlock(task);
	/* Opened elsewhere it may be what somebody's binfmt_misc handed to an interpreter. */
	if (exe && (!(exe->f_flags & __FMODE_EXEC) || exe->f_cred->user_ns != &init_user_ns)) {
		fput(exe);
		return NULL;
	}
	return exe;
}

/*
 * A file is about to become the program of a process without an execve(). What binfmt_misc hands to an
 * interpreter was opened as if to be run, and by whomever: from now on it looks as what it is.
 */
void portcullis_no_program(struct file *file)
{
	if (!file || !(file->f_flags & __FMODE_EXEC))
		return;
	spin_lock(&file->f_lock);
	file->f_flags &= ~__FMODE_EXEC;
	spin_unlock(&file->f_lock);
}

/* Puts a slash and a name in front of what begins at @at in @buffer. */
static bool prepend(char *buffer, size_t *at, const struct qstr *name)
{
	if (*at < name->len + 1)
		return false;
	*at -= name->len;
	memcpy(buffer + *at, name->name, name->len);
	buffer[--*at] = '/';
	return true;
}

/*
 * Puts the name of @dentry in front, and returns the folder that it has this name in, with a
 * reference; NULL if there is no room.
 */
static struct dentry *step_up(struct dentry *dentry, char *buffer, size_t *at)
{
	for (;;) {
		struct dentry *folder = dget_parent(dentry);
		bool is_there, fits;

		/* A rename changes both with this lock held. */
		spin_lock(&dentry->d_lock);
		is_there = dentry->d_parent == folder;
		fits = is_there && prepend(buffer, at, &dentry->d_name);
		spin_unlock(&dentry->d_lock);
		if (fits)
			return folder;
		dput(folder);
		if (is_there)
			return NULL;
	}
}

/*
 * Puts the way to @from in front: from @root, or from wherever one gets to going up. With @mounts from
 * one mount to the one that it is mounted on; else as if all of the file system were at @root.
 *
 * Names may change meanwhile. Whether the way is one is for leads_to() to say.
 */
static bool way_up(const struct path *from, const struct path *root, bool mounts, char *buffer, size_t *at)
{
	struct path path = *from;
	bool fits = true;

	path_get(&path);
	while (mounts ? !path_equal(&path, root) : path.dentry != root->dentry) {
		struct dentry *folder;

		if (mounts && path.dentry == path.mnt->mnt_root) {
			if (!follow_up(&path))
				break;
			continue;
		}
		if (IS_ROOT(path.dentry))
			break;
		folder = step_up(path.dentry, buffer, at);
		if (!folder) {
			fits = false;
			break;
		}
		dput(path.dentry);
		path.dentry = folder;
	}
	path_put(&path);
	return fits;
}

/*
 * Whether the way between @way and @end leads from @root to @folder. Asks no file system: whoever
 * stands behind one may take as long as he likes to answer. There is no need to ask, for a folder that
 * is in use is known, and so are all those above it. Nothing is mounted by this.
 */
static bool leads_to(const char *way, const char *end, const struct path *root, const struct dentry *folder)
{
	struct path path = *root;
	bool found = true;

	path_get(&path);
	while (found && way < end) {
		const char *name = way + 1;
		const char *slash = memchr(name, '/', end - name);
		struct dentry *next;

		way = slash ?: end;
		next = try_lookup_noperm(&QSTR_LEN(name, way - name), path.dentry);
		found = !IS_ERR_OR_NULL(next);
		if (found) {
			dput(path.dentry);
			path.dentry = next;
			while (d_mountpoint(path.dentry) && follow_down_one(&path))
				;
		}
	}
	found = found && path.dentry == folder;
	path_put(&path);
	return found;
}

/*
 * The way from the host's root to @exe, at the start of @buffer; returns its length. A file that has
 * been deleted or replaced has the name that it had. -ENOENT if there is none: in the folder that the
 * way leads to is another file then, if any.
 *
 * Two ways are tried. The one through the mounts on which the file was opened is right for mounts that
 * the host has as well. The one through its file system, taken for the one at the host's root, is for
 * processes that live in a folder of the host's and have made it their root.
 */
int portcullis_way_to(const struct file *exe, char *buffer, size_t size)
{
	struct path folder = { .mnt = exe->f_path.mnt };
	struct path root;
	size_t name = size, at;
	int result = -ENOENT;

	/* What was never in a folder. */
	if (IS_ROOT(exe->f_path.dentry))
		return -ENOENT;
	folder.dentry = step_up(exe->f_path.dentry, buffer, &name);
	if (!folder.dentry)
		return -ENOENT;
	get_fs_root(userspace_init_fs, &root);
	for (int mounts = 1; mounts >= 0 && result < 0; mounts--) {
		at = name;
		if (way_up(&folder, &root, mounts, buffer, &at) &&
		    leads_to(buffer + at, buffer + name, &root, folder.dentry))
			result = size - at;
	}
	if (result > 0)
		memmove(buffer, buffer + at, result);
	path_put(&root);
	dput(folder.dentry);
	return result;
}

/*
 * The path of the control group of a task in the unified hierarchy, at the start of @buffer; returns its
 * length, or a negative errno. The caller is in a critical section of RCU.
 */
int portcullis_cgroup_of(struct task_struct *task, char *buffer, size_t size)
{
	return cgroup_path(task_dfl_cgroup(task), buffer, size);
}
