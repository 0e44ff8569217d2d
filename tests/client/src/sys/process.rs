// SPDX-License-Identifier: GPL-2.0

//! What a process can say of itself, and what it can turn itself into.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::ffi::OsStrExt,
    },
    ptr,
};

use super::file::check;

/// Another name for this thread; the kernel keeps 15 bytes of it.
pub fn set_name(name: &OsStr) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the kernel reads a C string.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) })
}

/// The group, for good.
pub fn become_group(gid: u32) -> io::Result<()> {
    // SAFETY: setresgid touches no memory of ours.
    check(unsafe { libc::setresgid(gid, gid, gid) })
}

/// More files than a process gets by itself: as many as it may have.
pub fn allow_many_files() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one struct.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one struct.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

/// Puts memory with the same bytes in the place of this program's mappings of its own file: the
/// kernel lets nobody name another program whose old one is still mapped. The process must have one
/// thread.
pub fn unmap_own_program() -> io::Result<()> {
    let own = fs::read_link("/proc/self/exe")?;
    // All is read before anything changes, so that nothing is allocated between a copy and its use.
    let maps = fs::read_to_string("/proc/self/maps")?;
    let parts: Vec<_> = maps.lines().filter_map(Part::of_line).collect();
    for part in parts.iter().filter(|part| part.path == own.as_os_str()) {
        part.replace()?;
    }
    Ok(())
}

/// A line of /proc/self/maps.
struct Part<'a> {
    start: usize,
    bytes: usize,
    protection: libc::c_int,
    path: &'a OsStr,
}

impl<'a> Part<'a> {
    fn of_line(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let flags = words.next()?;
        let path = words.nth(3)?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let bit = |letter, bit| if flags.contains(letter) { bit } else { 0 };
        Some(Part {
            start,
            bytes: end.checked_sub(start)?,
            protection: bit('r', libc::PROT_READ)
                | bit('w', libc::PROT_WRITE)
                | bit('x', libc::PROT_EXEC),
            path: OsStr::new(path),
        })
    }

    fn replace(&self) -> io::Result<()> {
        let Part {
            start,
            bytes,
            protection,
            ..
        } = *self;
        // SAFETY: a new mapping is filled with the bytes of an old one and then takes its place, in
        // one call: whoever runs or reads there finds the same bytes before and after. Nothing is
        // written to them between, because this is the only thread, and it writes to its stack.
        unsafe {
            let copy = libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if copy == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            if protection & libc::PROT_READ != 0 {
                ptr::copy_nonoverlapping(start as *const u8, copy.cast(), bytes);
            }
            check(libc::mprotect(copy, bytes, protection))?;
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let moved = libc::mremap(copy, bytes, bytes, flags, start as *mut libc::c_void);
            if moved == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// prctl(PR_SET_MM_EXE_FILE): from now on /proc/self/exe is another file.
pub fn set_exe_file(file: &impl AsRawFd) -> io::Result<()> {
    let fd = file.as_raw_fd();
    // SAFETY: the call takes a number and touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_EXE_FILE, fd, 0, 0) })
}

/// `struct prctl_mm_map`. C header: `include/uapi/linux/prctl.h`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// prctl(PR_SET_MM_MAP): the same by another door, which root in a user namespace may use, too.
/// Everything else stays what it is.
pub fn set_exe_by_map(file: &impl AsRawFd) -> io::Result<()> {
    const PR_SET_MM_MAP: libc::c_int = 14;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may have anything in it, the third field comes next.
    let numbers: Vec<u64> = (stat.rsplit(") ").next().unwrap_or_default())
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| numbers.get(number - 3).copied().unwrap_or(0);
    // SAFETY: it asks where the heap ends, and moves nothing.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let map = MemoryMap {
        start_code: field(26),
        end_code: field(27),
        start_stack: field(28),
        start_data: field(45),
        end_data: field(46),
        start_brk: field(47),
        brk,
        arg_start: field(48),
        arg_end: field(49),
        env_start: field(50),
        env_end: field(51),
        auxv: 0,
        auxv_size: 0,
        exe_fd: file.as_raw_fd() as u32,
    };
    let bytes = size_of::<MemoryMap>();
    // SAFETY: the kernel reads one struct.
    check(unsafe { libc::prctl(libc::PR_SET_MM, PR_SET_MM_MAP, &raw const map, bytes, 0) })
}

/// The program that this one interprets, where `binfmt_misc` has had it opened (flag `O`).
pub fn interpreted() -> Option<RawFd> {
    // SAFETY: it reads a number that the kernel has laid down for this process.
    let fd = unsafe { libc::getauxval(libc::AT_EXECFD) };
    RawFd::try_from(fd).ok().filter(|fd| *fd > 0)
}

/// Becomes another program, with the same files. Returns only if that fails.
pub fn execute(path: &OsStr, words: &[&OsStr]) -> io::Error {
    let run = || -> io::Result<()> {
        let path = c_string(path)?;
        let words = c_strings(words)?;
        let pointers = pointers(&words);
        // SAFETY: the strings end in NUL, the array of them in a null pointer.
        check(unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) })
    };
    failed(run())
}

/// Becomes a copy of this program that no folder has, in memory and called `name`. Returns only if
/// that fails.
pub fn execute_from_memory(name: &OsStr, words: &[&OsStr]) -> io::Error {
    let run = || -> io::Result<()> {
        let program = fs::read("/proc/self/exe")?;
        let name = c_string(name)?;
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        check(fd.min(0))?;
        fs::write(format!("/proc/self/fd/{fd}"), program)?;
        let words = c_strings(words)?;
        let pointers = pointers(&words);
        let environment = [ptr::null()];
        // SAFETY: as in `execute`.
        check(unsafe { libc::fexecve(fd, pointers.as_ptr(), environment.as_ptr()) })
    };
    failed(run())
}

fn failed(result: io::Result<()>) -> io::Error {
    result.err().unwrap_or_else(|| io::ErrorKind::Other.into())
}

/// Gives an open file a number that programs which this one becomes know, and find open.
pub fn leave_as(file: &impl AsRawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 copies an fd number and touches no memory; whoever leaves files has chosen numbers
    // that nothing else has.
    check(unsafe { libc::dup2(file.as_raw_fd(), number) }.min(0))
}

/// fork(2). In the child: nothing. In the parent, which waits: the child's exit code, 1 if a signal ended
/// it. The process must have one thread.
pub fn fork_and_wait() -> io::Result<Option<i32>> {
    // SAFETY: the process has one thread, so the child may go on with everything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => {
            let mut status = 0;
            // SAFETY: the kernel writes one number.
            unsafe { libc::waitpid(child, &mut status, 0) };
            match libc::WIFEXITED(status) {
                true => Ok(Some(libc::WEXITSTATUS(status))),
                false => Ok(Some(1)),
            }
        }
    }
}

/// Traces every thread of a process, which goes on meanwhile, until this program ends.
pub fn trace(pid: libc::pid_t) -> io::Result<()> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    for task in tasks {
        let name = task?.file_name();
        let Some(task) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let task: libc::pid_t = task;
        // SAFETY: PTRACE_SEIZE takes no address, and touches no memory of ours.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, task, 0_usize, 0_usize) };
        check(seized as libc::c_int)?;
    }
    Ok(())
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn c_strings(words: &[&OsStr]) -> io::Result<Vec<CString>> {
    words.iter().map(|word| c_string(word)).collect()
}

fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    pointers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = "55d0a0000000-55d0a0003000 r-xp 00001000 00:19 4711       /tmp/client";
        let part = Part::of_line(line).unwrap();
        assert_eq!((part.start, part.bytes), (0x55d0_a000_0000, 0x3000));
        assert_eq!(part.protection, libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(part.path, "/tmp/client");
        assert!(Part::of_line("7ffd0000-7ffd1000 rw-p 00000000 00:00 0").is_none());
    }
}
