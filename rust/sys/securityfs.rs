// SPDX-License-Identifier: GPL-2.0

//! A folder of text files in securityfs.
//!
//! A file is read as it was when it was opened, and written in one piece: one write(2) is one
//! value, taken whole or refused. One that answers is written first and read then.
//!
//! C header: [`include/linux/security.h`](srctree/include/linux/security.h)

use super::bindings;
use crate::text::Text;
use core::{
    fmt::Write,
    ptr::{addr_of, null_mut},
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{
    error::from_err_ptr,
    fmt,
    fs::file::flags::{O_ACCMODE, O_WRONLY},
    prelude::*,
    str::CStr,
    sync::SetOnce,
    types::ForeignOwnable,
    uaccess::{UserPtr, UserSlice}, //
};

/// One file: a row of the module's table.
pub(crate) struct File {
    /// Its name.
    pub(crate) name: &'static CStr,
    /// Its permission bits.
    pub(crate) mode: u16,
    /// What a reader sees.
    pub(crate) show: Show,
    /// Takes a value that was written; a file without it cannot be written.
    pub(crate) store: Option<Store>,
}

/// What the reader of a file sees.
pub(crate) enum Show {
    /// What this writes when the file is opened.
    AtOpen(fn(&mut Text) -> Result),
    /// What this writes, which is always the same. A long text takes no memory between two reads,
    /// so that anybody may open the file as often as they like.
    Always(fn(&mut dyn Write) -> fmt::Result),
    /// What was answered to the value that was written to the same open file; before that, nothing.
    Answer,
}

/// How a file takes a value.
pub(crate) struct Store {
    /// The longest value in bytes: a longer one is refused with `EFBIG`.
    pub(crate) limit: usize,
    /// Takes the value, or refuses it with an errno.
    pub(crate) take: Take,
    /// Told of a value that was refused before `take` saw it.
    pub(crate) refused: fn(Error, fmt::Arguments<'_>),
}

/// Takes a value.
pub(crate) enum Take {
    /// For good or not at all.
    Value(fn(KVVec<u8>) -> Result),
    /// And answers it, for who reads the same open file.
    Question(fn(KVVec<u8>) -> Result<Text>),
}

/// A folder and its files, which go when it is dropped.
///
/// # Invariants
///
/// The entries were made by securityfs and not yet removed. The last one made is the first to go.
pub(crate) struct Folder {
    entries: KVec<*mut bindings::dentry>,
}

// SAFETY: the entries are removed by whoever drops the folder, on any thread.
unsafe impl Send for Folder {}
// SAFETY: a shared reference to a folder gives no access to anything.
unsafe impl Sync for Folder {}

impl Folder {
    /// Makes the folder `name` at the top of securityfs, with these files.
    pub(crate) fn new(name: &'static CStr, files: &'static [File]) -> Result<Self> {
        let mut folder = Self {
            entries: KVec::with_capacity(files.len() + 1, GFP_KERNEL)?,
        };
        // SAFETY: the name is a C string, and a null parent means the top.
        let parent = from_err_ptr(unsafe {
            bindings::securityfs_create_dir(name.as_char_ptr(), null_mut())
        })?;
        folder.entries.push(parent, GFP_KERNEL)?;
        for file in files {
            // SAFETY: the name is a C string, the parent was just made; the row and the operations
            // are static, and the operations expect a row as the inode's private data.
            let entry = from_err_ptr(unsafe {
                bindings::securityfs_create_file(
                    file.name.as_char_ptr(),
                    file.mode,
                    parent,
                    core::ptr::from_ref(file).cast_mut().cast(),
                    &OPERATIONS.0,
                )
            })?;
            folder.entries.push(entry, GFP_KERNEL)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        while let Some(entry) = self.entries.pop() {
            // The folder, the first entry, has no operations of ours.
            if !self.entries.is_empty() {
                // A descriptor made with O_PATH holds the inode, but not the module: opening it
                // anew later must not find our operations any more. Whoever is looking at them
                // right now has not slept, and `wait_for_calls_on_detours` waits for that before the
                // module goes.
                // SAFETY: by the type invariants the entry is there, and so is its inode.
                unsafe { bindings::make_bad_inode((*entry).d_inode) };
            }
            // SAFETY: by the type invariants it is ours and still there.
            unsafe { bindings::securityfs_remove(entry) };
        }
    }
}

/// What an open file carries.
struct Opened {
    file: &'static File,
    /// What a reader sees of [`Show::AtOpen`].
    text: Text,
    /// What a reader sees of [`Show::Answer`].
    answer: SetOnce<Text>,
    /// Whether a write has been tried.
    written: AtomicBool,
}

extern "C" {
    /// This module's `struct module`, of which only the address is wanted.
    static __this_module: u8;
}

struct Operations(bindings::file_operations);

// SAFETY: the operations are never written.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(bindings::file_operations {
    // An open file holds the module: without it, rmmod would free the code that a read runs in.
    owner: addr_of!(__this_module).cast_mut().cast(),
    open: Some(open),
    read: Some(read),
    write: Some(write),
    llseek: Some(bindings::default_llseek),
    release: Some(release),
    ..pin_init::zeroed()
});

/// Runs `body` as a C callback that returns a count or a negative errno.
fn count(body: impl FnOnce() -> Result<usize>) -> isize {
    match body() {
        // CAST: no more than the `len` of a system call, which the kernel keeps below `isize::MAX`.
        Ok(count) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// To be called by the VFS alone, for an inode that [`Folder::new`] made.
unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: the VFS passes valid pointers, and the private data is a row of a static table.
    let row: &'static File = unsafe { &*(*inode).i_private.cast_const().cast::<File>() };
    // SAFETY: as above; the flags were set before this call.
    let flags = unsafe { (*file).f_flags };
    let mut text = Text::new();
    if let (Show::AtOpen(show), true) = (&row.show, flags & O_ACCMODE != O_WRONLY) {
        if let Err(error) = show(&mut text) {
            return error.to_errno();
        }
    }
    let opened = Opened {
        file: row,
        text,
        answer: SetOnce::new(),
        written: AtomicBool::new(false),
    };
    match KBox::new(opened, GFP_KERNEL) {
        Ok(opened) => {
            // SAFETY: the file is being opened: nobody else has it yet.
            unsafe { (*file).private_data = opened.into_foreign() };
            0
        }
        Err(error) => Error::from(error).to_errno(),
    }
}

/// # Safety
///
/// To be called by the VFS alone, for a file that [`open`] opened.
unsafe fn opened<'a>(file: *mut bindings::file) -> &'a Opened {
    // SAFETY: `open` put a boxed `Opened` there, and it stays until `release`.
    unsafe { &*(*file).private_data.cast_const().cast::<Opened>() }
}

/// # Safety
///
/// To be called by the VFS alone.
unsafe extern "C" fn read(
    file: *mut bindings::file,
    buffer: *mut c_char,
    len: usize,
    position: *mut bindings::loff_t,
) -> isize {
    // SAFETY: the VFS passes a file that `open` opened.
    let opened = unsafe { opened(file) };
    let copy = |text: &Text, mut from: bindings::loff_t| {
        let text = text.as_bytes();
        // SAFETY: `text` is valid for its length, and the buffer is the VFS's as it is.
        let count = unsafe {
            bindings::simple_read_from_buffer(
                buffer.cast(),
                len,
                &mut from,
                text.as_ptr().cast(),
                text.len(),
            )
        };
        if count > 0 {
            // SAFETY: the VFS passes a valid position.
            unsafe { *position = (*position).saturating_add(count as bindings::loff_t) };
        }
        count
    };
    // SAFETY: as above.
    let from = unsafe { *position };
    match &opened.file.show {
        Show::AtOpen(_) => copy(&opened.text, from),
        Show::Answer => opened.answer.as_ref().map_or(0, |text| copy(text, from)),
        Show::Always(show) => {
            let mut window = Window {
                skip: usize::try_from(from).unwrap_or(usize::MAX),
                room: len.min(WINDOW_BYTES),
                text: Text::new(),
                error: None,
            };
            // It ends with an error when the window is full.
            let _ = show(&mut window);
            match window.error {
                None => copy(&window.text, 0),
                Some(error) => error.to_errno() as isize,
            }
        }
    }
}

/// The most bytes of [`Show::Always`] that one read copies.
const WINDOW_BYTES: usize = 32 * 1024;

/// A part of a text that is being written.
struct Window {
    /// How many bytes are still to come before it.
    skip: usize,
    /// How many bytes still fit.
    room: usize,
    text: Text,
    error: Option<Error>,
}

impl Write for Window {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let skipped = self.skip.min(piece.len());
        self.skip -= skipped;
        let piece = piece.as_bytes().get(skipped..).unwrap_or_default();
        let piece = piece.get(..self.room).unwrap_or(piece);
        self.room -= piece.len();
        if let Err(error) = self.text.push(piece) {
            self.error = Some(error);
            return Err(fmt::Error);
        }
        match self.room {
            0 => Err(fmt::Error),
            _ => Ok(()),
        }
    }
}

/// # Safety
///
/// To be called by the VFS alone.
unsafe extern "C" fn write(
    file: *mut bindings::file,
    buffer: *const c_char,
    len: usize,
    position: *mut bindings::loff_t,
) -> isize {
    // SAFETY: the VFS passes a file that `open` opened.
    let opened = unsafe { opened(file) };
    // SAFETY: the VFS passes a valid position.
    let position = unsafe { *position };
    count(|| {
        let Some(store) = &opened.file.store else {
            return Err(EINVAL);
        };
        let refuse = |error: Error, why: fmt::Arguments<'_>| {
            (store.refused)(error, why);
            Err(error)
        };
        // The opener's capability counts, in the initial user namespace: a descriptor that is
        // passed on carries the right, and root of a container does not have it.
        // SAFETY: `file` is open, and `init_user_ns` is always there.
        let capable = unsafe {
            bindings::file_ns_capable(
                file,
                &raw mut bindings::init_user_ns,
                bindings::CAP_MAC_ADMIN as c_int,
            )
        };
        if !capable {
            return refuse(
                EPERM,
                fmt!("the writer lacks CAP_MAC_ADMIN in the initial user namespace"),
            );
        }
        if opened.written.swap(true, Ordering::Relaxed) {
            return refuse(
                EBUSY,
                fmt!("one open file takes one write: send the whole text in one piece, as `dd bs=1M` does"),
            );
        }
        if position != 0 {
            return refuse(
                EINVAL,
                fmt!("the text must be written whole, from offset 0; this write is at {position}"),
            );
        }
        if len > store.limit {
            return refuse(
                EFBIG,
                fmt!("the text is {len} bytes long; the limit is {}", store.limit),
            );
        }
        let mut text = KVVec::new();
        let source = UserSlice::new(UserPtr::from_ptr(buffer.cast_mut().cast()), len);
        if let Err(error) = source.read_all(&mut text, GFP_KERNEL) {
            return refuse(error, fmt!("the text could not be copied"));
        }
        match store.take {
            Take::Value(take) => take(text)?,
            Take::Question(take) => {
                // One write, one answer.
                opened.answer.populate(take(text)?);
            }
        }
        Ok(len)
    })
}

/// # Safety
///
/// To be called by the VFS alone, once.
unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `open` put it there, and nobody else has the file any more.
    drop(unsafe { <KBox<Opened>>::from_foreign((*file).private_data) });
    0
}
