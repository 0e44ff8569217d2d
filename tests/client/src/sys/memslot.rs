// SPDX-License-Identifier: GPL-2.0

//! The memory of a guest.

use kvm_bindings::{kvm_userspace_memory_region, KVM_MEM_LOG_DIRTY_PAGES};
use kvm_ioctls::VmFd;

use super::pages::Pages;

/// Makes `pages` the memslot 0 of `vm`, at guest physical address 0.
///
/// The caller keeps `pages` as long as the VM; if it does not, the guest meets unmapped memory,
/// which ends KVM_RUN with EFAULT and harms nobody.
pub fn set_first(vm: &VmFd, pages: &Pages, dirty_log: bool) -> Result<(), kvm_ioctls::Error> {
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: if dirty_log {
            KVM_MEM_LOG_DIRTY_PAGES
        } else {
            0
        },
        guest_phys_addr: 0,
        memory_size: pages.size_bytes(),
        userspace_addr: pages.address(),
    };
    // SAFETY: the range is a mapping of ours into which Rust holds no references.
    unsafe { vm.set_user_memory_region(region) }
}
