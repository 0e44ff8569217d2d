// SPDX-License-Identifier: GPL-2.0

//! The floor that the benchmark compares with: kprobes at `kvm_vm_ioctl` and `kvm_vcpu_ioctl` whose
//! handler compares the command with one number, and nothing else.

use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

#[allow(
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    unreachable_pub,
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    pub(super) use kernel::bindings::*;
    use kernel::ffi;
    use pin_init::MaybeZeroable;
    include!(concat!(
        env!("PORTCULLIS_OBJ"),
        "/rust/sys/bindings_generated.rs"
    ));
}

module! {
    type: EmptyKprobe,
    name: "empty_kprobe",
    authors: ["Portcullis developers"],
    description: "The least that a kprobe on an ioctl handler can cost",
    license: "GPL",
}

struct EmptyKprobe {
    _vm: Kprobe,
    _vcpu: Kprobe,
}

struct Kprobe(Pin<KBox<Opaque<bindings::kprobe>>>);

// SAFETY: the kprobe is touched by `new` and `drop` alone.
unsafe impl Send for Kprobe {}
// SAFETY: as above.
unsafe impl Sync for Kprobe {}

/// # Safety
///
/// To be called by the kernel alone.
unsafe extern "C" fn hit(_: *mut bindings::kprobe, registers: *mut bindings::pt_regs) -> c_int {
    // SAFETY: the kernel hands over the registers for the time of this call.
    let command = unsafe { (*registers).si as u32 };
    // A number that nobody calls with.
    c_int::from(command == 0xffff_fffe)
}

impl Kprobe {
    fn new(symbol: &'static CStr) -> Result<Self> {
        let kprobe = KBox::pin(Opaque::<bindings::kprobe>::zeroed(), GFP_KERNEL)?;
        // SAFETY: nobody else knows it yet.
        unsafe {
            (*kprobe.get()).symbol_name = symbol.as_char_ptr();
            (*kprobe.get()).pre_handler = Some(hit);
        }
        // SAFETY: it is pinned, and `drop` unregisters it.
        to_result(unsafe { bindings::register_kprobe(kprobe.get()) })?;
        Ok(Self(kprobe))
    }
}

impl Drop for Kprobe {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { bindings::unregister_kprobe(self.0.get()) };
    }
}

impl kernel::Module for EmptyKprobe {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _vm: Kprobe::new(c"kvm_vm_ioctl")?,
            _vcpu: Kprobe::new(c"kvm_vcpu_ioctl")?,
        })
    }
}
