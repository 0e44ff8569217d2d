// SPDX-License-Identifier: GPL-2.0

//! Conditions on what the argument points to.

use super::{judge, rejected, request, Outcome, CREATE_VCPU, EACCES, EINVAL, EPERM, MAX};
use crate::{check, parse, schema, Grow, InList, Kind, Policy, Request, Surface, Unread, Verdict};

use Surface::{Iommufd, KvmVcpu, KvmVm, VfioDevice};
use Verdict::Allow;

/// Memory of a caller: pieces and where they are.
struct Memory<'a>(&'a [(u64, &'a [u8])]);

impl crate::Memory for Memory<'_> {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        self.0.iter().any(|(start, piece)| {
            let from = address
                .checked_sub(*start)
                .and_then(|from| usize::try_from(from).ok());
            let found = from.and_then(|from| piece.get(from..)?.get(..into.len()));
            if let Some(found) = found {
                into.copy_from_slice(found);
            }
            found.is_some()
        })
    }
}

/// Where the arguments of these tests are.
pub(super) const HERE: u64 = 0x1000;

/// The verdict about a call whose argument is in memory.
pub(super) fn verdict<S: Grow>(
    policy: &Policy<S>,
    surface: Surface,
    name: &str,
    compat: bool,
    memory: &[(u64, &[u8])],
) -> Result<Verdict, Option<Unread>> {
    let command = schema::command(name).ok_or(None)?;
    let request = Request {
        surface,
        command: if compat {
            command.compat_number
        } else {
            command.number
        },
        arg: HERE,
        compat,
    };
    let head = policy.head(surface, request.command).ok_or(None)?;
    let fetched = policy
        .fetch(head, &request, InList::<S>::new(), &mut Memory(memory))
        .map_err(Some)?;
    let decision = policy.decide(head, &request, fetched.bytes(), |_| {});
    decision.map(|decision| decision.verdict).ok_or(None)
}

/// The verdict about a call with this argument.
fn with_argument<S: Grow>(
    policy: &Policy<S>,
    surface: Surface,
    name: &str,
    argument: &[u8],
) -> Option<Verdict> {
    verdict(policy, surface, name, false, &[(HERE, argument)]).ok()
}

/// Puts little-endian numbers at offsets of an argument of zeros.
pub(super) fn argument<const N: usize>(numbers: &[(usize, u64, usize)]) -> [u8; N] {
    let mut bytes = [0; N];
    for (offset, number, width) in numbers {
        let from = number.to_le_bytes();
        if let (Some(to), Some(from)) = (bytes.get_mut(*offset..offset + width), from.get(..*width))
        {
            to.copy_from_slice(from);
        }
    }
    bytes
}

/// `struct kvm_userspace_memory_region`
fn region(slot: u64, flags: u64, gpa: u64, size: u64, hva: u64) -> [u8; 32] {
    argument(&[
        (0, slot, 4),
        (4, flags, 4),
        (8, gpa, 8),
        (16, size, 8),
        (24, hva, 8),
    ])
}

/// Each field is read at its own offset, in its own width.
pub fn fields_are_read_at_their_places<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if slot == 1 and flags == 2 and guest_phys_addr == 3 \
         and memory_size == 4 and userspace_addr == 5",
    );
    let ask =
        |argument: &[u8]| with_argument(&policy, KvmVm, "KVM_SET_USER_MEMORY_REGION", argument);
    check!(ask(&region(1, 2, 3, 4, 5)) == Some(EPERM));
    for other in [
        region(0, 2, 3, 4, 5),
        region(1, 0, 3, 4, 5),
        region(1, 2, 0, 4, 5),
        region(1, 2, 3, 0, 5),
        region(1, 2, 3, 4, 0),
        region(1, 2, 3 + (1 << 32), 4, 5),
        region(1, 2, 3, 4, 5 + (1 << 63)),
    ] {
        check!(ask(&other) == Some(Allow));
    }
    Ok(())
}

/// `fd` of `struct kvm_ioeventfd`
pub fn signed_fields_are_compared_as_such<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_IOEVENTFD if fd < 0 and fd != -1");
    let set = policy!(
        "default allow",
        "deny KVM_IOEVENTFD if fd in {-5..-3, 2147483647}"
    );
    for (fd, below, within) in [
        (0, Allow, Allow),
        (1, Allow, Allow),
        (-1, Allow, Allow),
        (-2, EPERM, Allow),
        (-3, EPERM, EPERM),
        (-5, EPERM, EPERM),
        (-6, EPERM, Allow),
        (i64::from(i32::MAX), Allow, EPERM),
        (i64::from(i32::MIN), EPERM, Allow),
    ] {
        let bytes: [u8; 64] = argument(&[(20, u64::from_le_bytes(fd.to_le_bytes()), 4)]);
        check!(with_argument(&policy, KvmVm, "KVM_IOEVENTFD", &bytes) == Some(below));
        check!(with_argument(&set, KvmVm, "KVM_IOEVENTFD", &bytes) == Some(within));
    }
    Ok(())
}

/// A sum that has no room in 64 bits is greater than every value.
pub fn sums_do_not_wrap<S: Grow>() -> Outcome {
    let name = "KVM_SET_USER_MEMORY_REGION";
    let above = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if guest_phys_addr + memory_size > 64G"
    );
    let at_most = policy!(
        "default deny",
        "allow KVM_SET_USER_MEMORY_REGION if guest_phys_addr + memory_size + 1 <= 64G"
    );
    let equal = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if guest_phys_addr + memory_size == 0"
    );
    let aligned = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if guest_phys_addr + memory_size aligned 4K"
    );
    for (gpa, size, wanted) in [
        (0, 0, [Allow, Allow, EPERM, EPERM]),
        (1, 2, [Allow, Allow, Allow, Allow]),
        (63 << 30, (1 << 30) - 1, [Allow, Allow, Allow, Allow]),
        (63 << 30, 1 << 30, [Allow, EPERM, Allow, EPERM]),
        (63 << 30, (1 << 30) + 1, [EPERM, EPERM, Allow, Allow]),
        (MAX, 1, [EPERM, EPERM, Allow, EPERM]),
        (MAX, MAX, [EPERM, EPERM, Allow, Allow]),
    ] {
        let bytes = region(0, 0, gpa, size, 0);
        for (policy, wanted) in [&above, &at_most, &equal, &aligned].into_iter().zip(wanted) {
            check!(with_argument(policy, KvmVm, name, &bytes) == Some(wanted));
        }
    }
    Ok(())
}

/// `struct kvm_cpuid2` with two entries; the numbers are `function` and `ecx` of each.
fn cpuid(count: u64, entries: [(u64, u64); 2]) -> [u8; 88] {
    let [(first, ecx), (second, other)] = entries;
    argument(&[
        (0, count, 4),
        (8, first, 4),
        (8 + 20, ecx, 4),
        (48, second, 4),
        (48 + 20, other, 4),
    ])
}

/// The verdict about such a call.
fn cpuid_verdict<S: Grow>(policy: &Policy<S>, argument: &[u8]) -> Option<Verdict> {
    with_argument(policy, KvmVcpu, "KVM_SET_CPUID2", argument)
}

/// `any`: the conditions are about one and the same element.
pub fn any_element<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_CPUID2 if any entries (function == 0x80000001 and ecx has 0x4)",
    );
    let ask = |argument: &[u8]| cpuid_verdict(&policy, argument);
    check!(ask(&cpuid(2, [(0x8000_0001, 4), (0, 0)])) == Some(EPERM));
    check!(ask(&cpuid(2, [(0, 0), (0x8000_0001, 0x0f)])) == Some(EPERM));
    check!(ask(&cpuid(2, [(0x8000_0001, 8), (0, 4)])) == Some(Allow));
    check!(ask(&cpuid(1, [(0, 0), (0x8000_0001, 4)])) == Some(Allow));
    check!(ask(&cpuid(0, [(0x8000_0001, 4), (0, 0)])) == Some(Allow));
    Ok(())
}

/// `all`: also where there is none.
pub fn all_elements<S: Grow>() -> Outcome {
    let policy = policy!(
        "default deny",
        "allow KVM_SET_CPUID2 if all entries (function < 0x10)"
    );
    let ask = |argument: &[u8]| cpuid_verdict(&policy, argument);
    check!(ask(&cpuid(2, [(1, 0), (0xf, 0)])) == Some(Allow));
    check!(ask(&cpuid(2, [(1, 0), (0x10, 0)])) == Some(EPERM));
    check!(ask(&cpuid(2, [(0x10, 0), (1, 0)])) == Some(EPERM));
    check!(ask(&cpuid(0, [(0x10, 0), (0x10, 0)])) == Some(Allow));
    Ok(())
}

/// `no`
pub fn no_element<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_CPUID2 if no entries (function == 7) and nent != 1"
    );
    let ask = |argument: &[u8]| cpuid_verdict(&policy, argument);
    check!(ask(&cpuid(2, [(1, 0), (7, 0)])) == Some(Allow));
    check!(ask(&cpuid(2, [(1, 0), (8, 0)])) == Some(EPERM));
    check!(ask(&cpuid(1, [(1, 0), (8, 0)])) == Some(Allow));
    check!(ask(&cpuid(0, [(7, 0), (7, 0)])) == Some(EPERM));
    Ok(())
}

/// `count()` looks at no element.
pub fn elements_are_counted<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_SET_CPUID2 if count(entries) > 2");
    let ask = |argument: &[u8]| cpuid_verdict(&policy, argument);
    check!(ask(&argument::<8>(&[(0, 2, 4)])) == Some(Allow));
    check!(ask(&argument::<8>(&[(0, 3, 4)])) == Some(EPERM));
    check!(ask(&argument::<8>(&[(0, 0xffff_ffff, 4)])) == Some(EPERM));
    Ok(())
}

/// They are not looked at.
pub fn more_elements_than_the_kernel_takes<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_CPUID2 if any entries (function == 1)"
    );
    for count in [257, 0xffff_ffff] {
        let bytes: [u8; 8] = argument(&[(0, count, 4)]);
        let found = verdict(&policy, KvmVcpu, "KVM_SET_CPUID2", false, &[(HERE, &bytes)]);
        check!(found == Err(Some(Unread::TooBig)));
    }
    // 256 are taken, and missing here.
    let bytes: [u8; 8] = argument(&[(0, 256, 4)]);
    let found = verdict(&policy, KvmVcpu, "KVM_SET_CPUID2", false, &[(HERE, &bytes)]);
    check!(found == Err(Some(Unread::Fault)));
    check!(Unread::TooBig.errno() == 7 && Unread::Fault.errno() == 14);
    check!(Unread::OutOfMemory.errno() == 12);
    Ok(())
}

/// By their index, and all at once.
pub fn elements_of_fixed_arrays<S: Grow>() -> Outcome {
    let by_index = policy!(
        "default allow",
        "deny KVM_SET_XSAVE if region[128] any-of 0x60000"
    );
    let all = policy!(
        "default allow",
        "deny KVM_SET_XSAVE if any region (element == 0x20000)"
    );
    for (offset, wanted_by_index, wanted) in [
        (512, EPERM, EPERM),
        (508, Allow, EPERM),
        (4092, Allow, EPERM),
        (514, Allow, Allow),
    ] {
        // Not on the stack: the kernel's is small.
        let mut bytes = S::zeroed(4096).map_err(|_| line!())?;
        let number = S::items(&mut bytes).get_mut(offset..offset + 4);
        number.ok_or(line!())?.copy_from_slice(&[0, 0, 2, 0]);
        check!(with_argument(&by_index, KvmVcpu, "KVM_SET_XSAVE", &bytes) == Some(wanted_by_index));
        check!(with_argument(&all, KvmVcpu, "KVM_SET_XSAVE", &bytes) == Some(wanted));
    }
    Ok(())
}

/// An argument that cannot be read has no verdict.
pub fn what_cannot_be_read<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "allow KVM_SET_USER_MEMORY_REGION if memory_size == 0"
    );
    let name = "KVM_SET_USER_MEMORY_REGION";
    for memory in [
        &[][..],
        &[(HERE, &[0; 23][..])],
        &[(HERE + 1, &[0; 32][..])],
    ] {
        let found = verdict(&policy, KvmVm, name, false, memory);
        check!(found == Err(Some(Unread::Fault)));
    }
    let array = policy!(
        "default allow",
        "deny KVM_SET_CPUID2 if any entries (function == 7)"
    );
    let bytes = cpuid(2, [(1, 0), (2, 0)]);
    let cut = bytes.get(..87).unwrap_or_default();
    let found = verdict(&array, KvmVcpu, "KVM_SET_CPUID2", false, &[(HERE, cut)]);
    check!(found == Err(Some(Unread::Fault)));
    Ok(())
}

/// What no rule looks at may be missing.
pub fn nothing_else_is_read<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if flags == 1",
        "deny KVM_IRQFD if compat == 1"
    );
    let bytes: [u8; 8] = argument(&[(4, 1, 4)]);
    check!(with_argument(&policy, KvmVm, "KVM_SET_USER_MEMORY_REGION", &bytes) == Some(EPERM));
    check!(verdict(&policy, KvmVm, "KVM_IRQFD", false, &[]) == Ok(Allow));
    check!(verdict(&policy, KvmVm, "KVM_IRQFD", true, &[]) == Ok(EPERM));
    check!(verdict(&policy, KvmVcpu, "KVM_SET_CPUID2", false, &[]) == Ok(Allow));
    Ok(())
}

/// Alone, and joined by bars.
pub fn constants_have_their_values<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_USER_MEMORY_REGION if flags subset KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES and flags != 0",
    );
    for (flags, wanted) in [
        (0, Allow),
        (1, EPERM),
        (2, EPERM),
        (3, EPERM),
        (4, Allow),
        (5, Allow),
    ] {
        let bytes = region(0, flags, 0, 0, 0);
        check!(with_argument(&policy, KvmVm, "KVM_SET_USER_MEMORY_REGION", &bytes) == Some(wanted));
    }
    Ok(())
}

/// One name, two offsets.
pub fn layouts_of_several_commands<S: Grow>() -> Outcome {
    // `flags` is at 4 in the one and at 8 in the other.
    let policy = policy!(
        "default allow",
        "deny kvm-vm KVM_SET_USER_MEMORY_REGION, KVM_IRQFD if flags == 7"
    );
    let near: [u8; 32] = argument(&[(4, 7, 4)]);
    let far: [u8; 32] = argument(&[(8, 7, 4)]);
    check!(with_argument(&policy, KvmVm, "KVM_SET_USER_MEMORY_REGION", &near) == Some(EPERM));
    check!(with_argument(&policy, KvmVm, "KVM_SET_USER_MEMORY_REGION", &far) == Some(Allow));
    check!(with_argument(&policy, KvmVm, "KVM_IRQFD", &near) == Some(Allow));
    check!(with_argument(&policy, KvmVm, "KVM_IRQFD", &far) == Some(EPERM));
    Ok(())
}

/// Under one number, and under two.
pub fn layouts_of_32_bit_callers<S: Grow>() -> Outcome {
    let log = policy!(
        "default allow",
        "deny KVM_GET_DIRTY_LOG if dirty_bitmap == 0x5000"
    );
    let bytes: [u8; 16] = argument(&[(8, 0x7_0000_5000, 8)]);
    let ask = |compat| verdict(&log, KvmVm, "KVM_GET_DIRTY_LOG", compat, &[(HERE, &bytes)]);
    check!(ask(false) == Ok(Allow));
    check!(ask(true) == Ok(EPERM));

    // An address that no 32-bit caller can pass.
    let native = policy!(
        "default allow",
        "deny KVM_GET_DIRTY_LOG if dirty_bitmap >= 0x700000000",
        "deny KVM_GET_DIRTY_LOG if dirty_bitmap has 0x700005000",
    );
    let ask = |compat| {
        verdict(
            &native,
            KvmVm,
            "KVM_GET_DIRTY_LOG",
            compat,
            &[(HERE, &bytes)],
        )
    };
    check!(ask(false) == Ok(EPERM) && ask(true) == Ok(Allow));

    let filter = policy!(
        "default allow",
        "deny KVM_X86_SET_MSR_FILTER if ranges[1].base == 9"
    );
    let ask = |compat, offset| {
        let bytes: [u8; 392] = argument(&[(offset, 9, 4)]);
        verdict(
            &filter,
            KvmVm,
            "KVM_X86_SET_MSR_FILTER",
            compat,
            &[(HERE, &bytes)],
        )
    };
    // Elements of 24 bytes from 8 on, and of 16 from 4 on.
    check!(ask(false, 8 + 24 + 8) == Ok(EPERM) && ask(false, 4 + 16 + 8) == Ok(Allow));
    check!(ask(true, 8 + 24 + 8) == Ok(Allow) && ask(true, 4 + 16 + 8) == Ok(EPERM));
    Ok(())
}

/// `struct kvm_sev_cmd` leads to the struct of its `id`.
pub fn variants_behind_pointers<S: Grow>() -> Outcome {
    const THERE: u64 = 0x9000;
    let policy = policy!(
        "default allow",
        "deny KVM_MEMORY_ENCRYPT_OP if data.launch_start.policy has 0x4"
    );
    let (_, launch_start) = schema::constant("KVM_SEV_LAUNCH_START").ok_or(line!())?;
    let name = "KVM_MEMORY_ENCRYPT_OP";
    let command: [u8; 24] = argument(&[(0, launch_start, 4), (8, THERE, 8)]);
    let other: [u8; 24] = argument(&[(0, launch_start + 1, 4), (8, THERE, 8)]);
    let has: [u8; 40] = argument(&[(4, 0xc, 4)]);
    let has_not: [u8; 40] = argument(&[(4, 0x8, 4)]);
    let ask = |memory: &[(u64, &[u8])]| verdict(&policy, KvmVm, name, false, memory);
    check!(ask(&[(HERE, &command), (THERE, &has)]) == Ok(EPERM));
    check!(ask(&[(HERE, &command), (THERE, &has_not)]) == Ok(Allow));
    check!(ask(&[(HERE, &command)]) == Err(Some(Unread::Fault)));
    check!(ask(&[(HERE, &other)]) == Ok(Allow));
    Ok(())
}

/// `/dev/sev` has one ioctl, whose `cmd` says what it is. No machine of the tests has that device.
pub fn requests_to_dev_sev<S: Grow>() -> Outcome {
    const THERE: u64 = 0x9000;
    let policy = policy!(
        "default allow",
        "deny sev SEV_ISSUE_CMD if cmd == SEV_FACTORY_RESET errno EACCES",
        "deny sev SEV_ISSUE_CMD if data.snp_config.mask != 0",
        "deny sev SEV_ISSUE_CMD if data.pek_cert_import.oca_cert_len > 2048 errno EINVAL"
    );
    let ask = |cmd: &str, data: &[u8]| {
        let (_, cmd) = schema::constant(cmd).ok_or(None)?;
        let issue: [u8; 16] = argument(&[(0, cmd, 4), (4, THERE, 8)]);
        let memory: &[(u64, &[u8])] = &[(HERE, &issue), (THERE, data)];
        verdict(&policy, Surface::Sev, "SEV_ISSUE_CMD", false, memory)
    };
    let masked: [u8; 64] = argument(&[(8, 1, 4)]);
    let long: [u8; 24] = argument(&[(20, 2049, 4)]);
    check!(ask("SEV_FACTORY_RESET", &[]) == Ok(EACCES));
    check!(ask("SEV_PLATFORM_STATUS", &[]) == Ok(Allow));
    check!(ask("SNP_SET_CONFIG", &masked) == Ok(EPERM));
    check!(ask("SNP_SET_CONFIG", &[0; 64]) == Ok(Allow));
    check!(ask("SNP_SET_CONFIG", &[0; 63]) == Err(Some(Unread::Fault)));
    check!(ask("SEV_PEK_CERT_IMPORT", &long) == Ok(EINVAL));
    check!(ask("SEV_PEK_CSR", &long) == Ok(Allow));
    // The driver answers every other number itself, and so does a rule.
    let all = policy!("default allow", "deny sev * errno EACCES");
    for command in [0xc010_5300, 0xc010_5301, 0] {
        check!(judge(&all, request(Surface::Sev, command, 0)) == Some(EACCES));
    }
    Ok(())
}

/// What lies beyond the size that an argument says of itself is 0, and is not read.
pub fn sizes_that_the_caller_tells<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny IOMMU_IOAS_MAP if iova != 0");
    let ask = |bytes: &[u8]| verdict(&policy, Iommufd, "IOMMU_IOAS_MAP", false, &[(HERE, bytes)]);
    let whole: [u8; 40] = argument(&[(0, 40, 4), (32, 7, 8)]);
    let short: [u8; 40] = argument(&[(0, 32, 4), (32, 7, 8)]);
    let huge: [u8; 40] = argument(&[(0, 0xffff_ffff, 4), (32, 7, 8)]);
    let tiny: [u8; 4] = argument(&[(0, 1, 4)]);
    check!(ask(&whole) == Ok(EPERM));
    check!(ask(&short) == Ok(Allow));
    check!(ask(short.get(..32).unwrap_or_default()) == Ok(Allow));
    check!(ask(&huge) == Ok(EPERM));
    check!(ask(&tiny) == Ok(Allow));
    check!(ask(tiny.get(..3).unwrap_or_default()) == Err(Some(Unread::Fault)));
    check!(ask(whole.get(..39).unwrap_or_default()) == Err(Some(Unread::Fault)));
    Ok(())
}

/// `VFIO_DEVICE_PCI_HOT_RESET` copies as many descriptors as `count` says, whatever `argsz` is.
pub fn a_size_that_the_kernel_does_not_heed<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny VFIO_DEVICE_PCI_HOT_RESET if any group_fds (element == 5)"
    );
    let bytes: [u8; 20] = argument(&[(0, 12, 4), (8, 2, 4), (12, 3, 4), (16, 5, 4)]);
    let name = "VFIO_DEVICE_PCI_HOT_RESET";
    check!(with_argument(&policy, VfioDevice, name, &bytes) == Some(EPERM));
    Ok(())
}

/// `KVM_SET_TSC_KHZ` looks at 32 bits.
pub fn numbers_are_cut_as_the_handler_does<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny kvm-vcpu KVM_SET_TSC_KHZ if arg == 5",
        "deny KVM_CREATE_VCPU if arg == 5"
    );
    let khz = schema::command("KVM_SET_TSC_KHZ").ok_or(line!())?.number;
    check!(judge(&policy, request(KvmVcpu, khz, 5)) == Some(EPERM));
    check!(judge(&policy, request(KvmVcpu, khz, 5 + (1 << 32))) == Some(EPERM));
    check!(judge(&policy, request(KvmVm, CREATE_VCPU, 5 + (1 << 32))) == Some(Allow));
    check!(rejected::<S>(
        text!(
            "default allow",
            "deny kvm-vcpu KVM_SET_TSC_KHZ if arg == 4G"
        ),
        &[Kind::ValueTooWide {
            width: 4,
            signed: false
        }]
    ));
    Ok(())
}

/// Warnings are in the order of lines, and the policy is taken.
pub fn what_is_odd_is_told<S: Grow>() -> Outcome {
    let text = text!(
        "default allow",
        "deny kvm-vm *",
        "deny KVM_CREATE_VCPU",
        "deny KVM_SET_CPUID2 if any entries (flags == 1|2)",
    );
    let Ok(checked) = check::<S>(text) else {
        return Err(line!());
    };
    let mut found = checked.warnings.list.iter();
    let first = found.next().ok_or(line!())?;
    check!(first.line == 5 && first.column == 1 && first.kind == Kind::Unreachable { line: 4 });
    let second = found.next().ok_or(line!())?;
    check!(second.line == 6 && second.kind == Kind::EqualToBits);
    check!(found.next().is_none() && checked.warnings.more == 0);
    check!(second.kind.is_warning());
    Ok(())
}
