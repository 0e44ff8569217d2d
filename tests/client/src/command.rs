// SPDX-License-Identifier: GPL-2.0

//! The ioctl commands of KVM on x86, by name.
//!
//! A number is made here as C makes it: direction, type 0xAE, the command's own byte and the size
//! of its struct (from kvm-bindings). Nothing is taken from the module or its schema, so that a
//! mistake there meets a witness that did not copy it.
//! C header: `include/uapi/linux/kvm.h`.

use std::{fmt, mem::size_of, str::FromStr};

use kvm_bindings::*;
use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE, _IOC_READ, _IOC_WRITE};

use crate::surface::Surface::{self, Device, Kvm, Tty, Vcpu, Vm};

/// One row: a name, its number and the surfaces whose handler knows it.
pub struct Entry {
    pub name: &'static str,
    pub number: u32,
    pub surfaces: &'static [Surface],
}

const KVMIO: u32 = 0xAE;

/// The scalar commands.
const fn io(nr: u32) -> u32 {
    ioctl_expr(_IOC_NONE, KVMIO, nr, 0) as u32
}

/// The handler reads a `T`.
const fn iow<T>(nr: u32) -> u32 {
    ioctl_expr(_IOC_WRITE, KVMIO, nr, size_of::<T>() as u32) as u32
}

/// The handler writes a `T`.
const fn ior<T>(nr: u32) -> u32 {
    ioctl_expr(_IOC_READ, KVMIO, nr, size_of::<T>() as u32) as u32
}

const fn iowr<T>(nr: u32) -> u32 {
    ioctl_expr(_IOC_READ | _IOC_WRITE, KVMIO, nr, size_of::<T>() as u32) as u32
}

/// A flexible array of which C's sizeof sees nothing but the count before it.
type CountOnly = u32;

/// What a 32-bit caller takes for `struct kvm_msr_filter`: its pointers and paddings are smaller,
/// so its command has a number of its own (arch/x86/kvm/x86.c).
#[repr(C)]
struct CompatMsrFilter {
    flags: u32,
    ranges: [[u32; 4]; 16],
}

macro_rules! table {
    ($($name:ident = $number:expr, $($surface:ident)+;)*) => {
        pub const TABLE: &[Entry] = &[$(
            Entry { name: stringify!($name), number: $number, surfaces: &[$($surface),+] },
        )*];
    };
}

table! {
    KVM_GET_API_VERSION = io(0x00), Kvm;
    KVM_CREATE_VM = io(0x01), Kvm;
    KVM_GET_MSR_INDEX_LIST = iowr::<CountOnly>(0x02), Kvm;
    KVM_CHECK_EXTENSION = io(0x03), Kvm Vm;
    KVM_GET_VCPU_MMAP_SIZE = io(0x04), Kvm;
    KVM_GET_SUPPORTED_CPUID = iowr::<kvm_cpuid2>(0x05), Kvm;
    KVM_GET_EMULATED_CPUID = iowr::<kvm_cpuid2>(0x09), Kvm;
    KVM_GET_MSR_FEATURE_INDEX_LIST = iowr::<CountOnly>(0x0a), Kvm;
    KVM_X86_GET_MCE_CAP_SUPPORTED = ior::<u64>(0x9d), Kvm;

    KVM_CREATE_VCPU = io(0x41), Vm;
    KVM_GET_DIRTY_LOG = iow::<kvm_dirty_log>(0x42), Vm;
    KVM_SET_NR_MMU_PAGES = io(0x44), Vm;
    KVM_SET_USER_MEMORY_REGION = iow::<kvm_userspace_memory_region>(0x46), Vm;
    KVM_SET_TSS_ADDR = io(0x47), Vm;
    KVM_SET_IDENTITY_MAP_ADDR = iow::<u64>(0x48), Vm;
    KVM_SET_USER_MEMORY_REGION2 = iow::<kvm_userspace_memory_region2>(0x49), Vm;
    KVM_CREATE_IRQCHIP = io(0x60), Vm;
    KVM_IRQ_LINE = iow::<kvm_irq_level>(0x61), Vm;
    KVM_GET_IRQCHIP = iowr::<kvm_irqchip>(0x62), Vm;
    KVM_SET_IRQCHIP = ior::<kvm_irqchip>(0x63), Vm;
    KVM_CREATE_PIT = io(0x64), Vm;
    KVM_GET_PIT = iowr::<kvm_pit_state>(0x65), Vm;
    KVM_SET_PIT = ior::<kvm_pit_state>(0x66), Vm;
    KVM_IRQ_LINE_STATUS = iowr::<kvm_irq_level>(0x67), Vm;
    KVM_REGISTER_COALESCED_MMIO = iow::<kvm_coalesced_mmio_zone>(0x67), Vm;
    KVM_UNREGISTER_COALESCED_MMIO = iow::<kvm_coalesced_mmio_zone>(0x68), Vm;
    KVM_SET_GSI_ROUTING = iow::<kvm_irq_routing>(0x6a), Vm;
    KVM_REINJECT_CONTROL = io(0x71), Vm;
    KVM_IRQFD = iow::<kvm_irqfd>(0x76), Vm;
    KVM_CREATE_PIT2 = iow::<kvm_pit_config>(0x77), Vm;
    KVM_SET_BOOT_CPU_ID = io(0x78), Vm;
    KVM_IOEVENTFD = iow::<kvm_ioeventfd>(0x79), Vm;
    KVM_XEN_HVM_CONFIG = iow::<kvm_xen_hvm_config>(0x7a), Vm;
    KVM_SET_CLOCK = iow::<kvm_clock_data>(0x7b), Vm;
    KVM_GET_CLOCK = ior::<kvm_clock_data>(0x7c), Vm;
    KVM_GET_PIT2 = ior::<kvm_pit_state2>(0x9f), Vm;
    KVM_SET_PIT2 = iow::<kvm_pit_state2>(0xa0), Vm;
    KVM_SET_TSC_KHZ = io(0xa2), Vm Vcpu;
    KVM_GET_TSC_KHZ = io(0xa3), Vm Vcpu;
    KVM_ENABLE_CAP = iow::<kvm_enable_cap>(0xa3), Vm Vcpu;
    KVM_SIGNAL_MSI = iow::<kvm_msi>(0xa5), Vm;
    KVM_SET_PMU_EVENT_FILTER = iow::<kvm_pmu_event_filter>(0xb2), Vm;
    KVM_MEMORY_ENCRYPT_OP = iowr::<usize>(0xba), Vm Vcpu;
    KVM_MEMORY_ENCRYPT_REG_REGION = ior::<kvm_enc_region>(0xbb), Vm;
    KVM_MEMORY_ENCRYPT_UNREG_REGION = ior::<kvm_enc_region>(0xbc), Vm;
    KVM_HYPERV_EVENTFD = iow::<kvm_hyperv_eventfd>(0xbd), Vm;
    KVM_CLEAR_DIRTY_LOG = iowr::<kvm_clear_dirty_log>(0xc0), Vm;
    KVM_X86_SET_MSR_FILTER = iow::<kvm_msr_filter>(0xc6), Vm;
    KVM_X86_SET_MSR_FILTER_COMPAT = iow::<CompatMsrFilter>(0xc6), Vm;
    KVM_RESET_DIRTY_RINGS = io(0xc7), Vm;
    KVM_XEN_HVM_GET_ATTR = iowr::<kvm_xen_hvm_attr>(0xc8), Vm;
    KVM_XEN_HVM_SET_ATTR = iow::<kvm_xen_hvm_attr>(0xc9), Vm;
    KVM_GET_STATS_FD = io(0xce), Vm Vcpu;
    KVM_XEN_HVM_EVTCHN_SEND = iow::<kvm_irq_routing_xen_evtchn>(0xd0), Vm;
    KVM_SET_MEMORY_ATTRIBUTES = iow::<kvm_memory_attributes>(0xd2), Vm;
    KVM_CREATE_GUEST_MEMFD = iowr::<kvm_create_guest_memfd>(0xd4), Vm;
    KVM_CREATE_DEVICE = iowr::<kvm_create_device>(0xe0), Vm;

    KVM_SET_DEVICE_ATTR = iow::<kvm_device_attr>(0xe1), Vcpu Device;
    KVM_GET_DEVICE_ATTR = iow::<kvm_device_attr>(0xe2), Kvm Vcpu Device;
    KVM_HAS_DEVICE_ATTR = iow::<kvm_device_attr>(0xe3), Kvm Vcpu Device;

    KVM_RUN = io(0x80), Vcpu;
    KVM_GET_REGS = ior::<kvm_regs>(0x81), Vcpu;
    KVM_SET_REGS = iow::<kvm_regs>(0x82), Vcpu;
    KVM_GET_SREGS = ior::<kvm_sregs>(0x83), Vcpu;
    KVM_SET_SREGS = iow::<kvm_sregs>(0x84), Vcpu;
    KVM_TRANSLATE = iowr::<kvm_translation>(0x85), Vcpu;
    KVM_INTERRUPT = iow::<kvm_interrupt>(0x86), Vcpu;
    KVM_GET_MSRS = iowr::<kvm_msrs>(0x88), Kvm Vcpu;
    KVM_SET_MSRS = iow::<kvm_msrs>(0x89), Vcpu;
    KVM_SET_CPUID = iow::<kvm_cpuid>(0x8a), Vcpu;
    KVM_SET_SIGNAL_MASK = iow::<CountOnly>(0x8b), Vcpu;
    KVM_GET_FPU = ior::<kvm_fpu>(0x8c), Vcpu;
    KVM_SET_FPU = iow::<kvm_fpu>(0x8d), Vcpu;
    KVM_GET_LAPIC = ior::<kvm_lapic_state>(0x8e), Vcpu;
    KVM_SET_LAPIC = iow::<kvm_lapic_state>(0x8f), Vcpu;
    KVM_SET_CPUID2 = iow::<kvm_cpuid2>(0x90), Vcpu;
    KVM_GET_CPUID2 = iowr::<kvm_cpuid2>(0x91), Vcpu;
    KVM_TPR_ACCESS_REPORTING = iowr::<kvm_tpr_access_ctl>(0x92), Vcpu;
    KVM_SET_VAPIC_ADDR = iow::<kvm_vapic_addr>(0x93), Vcpu;
    KVM_GET_MP_STATE = ior::<kvm_mp_state>(0x98), Vcpu;
    KVM_SET_MP_STATE = iow::<kvm_mp_state>(0x99), Vcpu;
    KVM_NMI = io(0x9a), Vcpu;
    KVM_SET_GUEST_DEBUG = iow::<kvm_guest_debug>(0x9b), Vcpu;
    KVM_X86_SETUP_MCE = iow::<u64>(0x9c), Vcpu;
    KVM_X86_SET_MCE = iow::<kvm_x86_mce>(0x9e), Vcpu;
    KVM_GET_VCPU_EVENTS = ior::<kvm_vcpu_events>(0x9f), Vcpu;
    KVM_SET_VCPU_EVENTS = iow::<kvm_vcpu_events>(0xa0), Vcpu;
    KVM_GET_DEBUGREGS = ior::<kvm_debugregs>(0xa1), Vcpu;
    KVM_SET_DEBUGREGS = iow::<kvm_debugregs>(0xa2), Vcpu;
    KVM_GET_XSAVE = ior::<kvm_xsave>(0xa4), Vcpu;
    KVM_SET_XSAVE = iow::<kvm_xsave>(0xa5), Vcpu;
    KVM_GET_XCRS = ior::<kvm_xcrs>(0xa6), Vcpu;
    KVM_SET_XCRS = iow::<kvm_xcrs>(0xa7), Vcpu;
    KVM_GET_ONE_REG = iow::<kvm_one_reg>(0xab), Vcpu;
    KVM_SET_ONE_REG = iow::<kvm_one_reg>(0xac), Vcpu;
    KVM_KVMCLOCK_CTRL = io(0xad), Vcpu;
    KVM_GET_REG_LIST = iowr::<u64>(0xb0), Vcpu;
    KVM_SMI = io(0xb7), Vcpu;
    KVM_GET_NESTED_STATE = iowr::<kvm_nested_state>(0xbe), Vcpu;
    KVM_SET_NESTED_STATE = iow::<kvm_nested_state>(0xbf), Vcpu;
    KVM_GET_SUPPORTED_HV_CPUID = iowr::<kvm_cpuid2>(0xc1), Kvm Vcpu;
    KVM_XEN_VCPU_GET_ATTR = iowr::<kvm_xen_vcpu_attr>(0xca), Vcpu;
    KVM_XEN_VCPU_SET_ATTR = iow::<kvm_xen_vcpu_attr>(0xcb), Vcpu;
    KVM_GET_SREGS2 = ior::<kvm_sregs2>(0xcc), Vcpu;
    KVM_SET_SREGS2 = iow::<kvm_sregs2>(0xcd), Vcpu;
    KVM_GET_XSAVE2 = ior::<kvm_xsave>(0xcf), Vcpu;
    KVM_PRE_FAULT_MEMORY = iowr::<kvm_pre_fault_memory>(0xd5), Vcpu;

    TIOCGWINSZ = libc::TIOCGWINSZ as u32, Tty;
}

/// A command as given on a command line: by name or by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub number: u32,
    text: String,
}

impl Command {
    /// The command called `name` in the table.
    pub fn named(name: &str) -> Option<Self> {
        let entry = TABLE.iter().find(|entry| entry.name == name)?;
        Some(Command {
            number: entry.number,
            text: entry.name.to_owned(),
        })
    }

    /// Whether this is the command that the table calls `name`, however it was given.
    pub fn is(&self, name: &str) -> bool {
        TABLE
            .iter()
            .any(|entry| entry.name == name && entry.number == self.number)
    }

    /// Whether the number says that the argument points to something.
    pub fn takes_pointer(&self) -> bool {
        const SIZE_BITS: u32 = 0x3fff << 16;
        self.number & SIZE_BITS != 0
    }

    /// Whether a call that succeeds returns a new fd.
    pub fn returns_fd(&self) -> bool {
        const NAMES: [&str; 4] = [
            "KVM_CREATE_VM",
            "KVM_CREATE_VCPU",
            "KVM_GET_STATS_FD",
            "KVM_CREATE_GUEST_MEMFD",
        ];
        NAMES.iter().any(|name| self.is(name))
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(digits) = text.strip_prefix("0x") else {
            return Command::named(text).ok_or_else(|| {
                format!("`{text}` is no known command; `client commands` lists them, 0xNUMBER is any other")
            });
        };
        Ok(Command {
            number: u32::from_str_radix(digits, 16)
                .map_err(|_| format!("`{text}` is no 32-bit command number"))?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fmt::Write as _, process};

    use super::*;

    /// The C compiler and the header that is installed have the last word on every number whose
    /// name that header knows.
    #[test]
    fn numbers_are_those_of_the_c_header() {
        let mut source = String::from(
            "#include <stdio.h>\n#include <sys/ioctl.h>\n#include <linux/kvm.h>\nint main(void)\n{\n",
        );
        for Entry { name, .. } in TABLE {
            writeln!(
                source,
                "#ifdef {name}\n\tprintf(\"{name} %u\\n\", (unsigned int){name});\n#endif"
            )
            .unwrap();
        }
        source.push_str("\treturn 0;\n}\n");

        let base = std::env::temp_dir().join(format!("client-numbers-{}", process::id()));
        let program = base.with_extension("out");
        let file = base.with_extension("c");
        std::fs::write(&file, source).unwrap();
        let compiled = process::Command::new("cc")
            .args([file.as_os_str(), "-o".as_ref(), program.as_os_str()])
            .status()
            .expect("a C compiler called cc");
        assert!(compiled.success());
        let output = process::Command::new(&program).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(&program).unwrap();

        let mut compared = 0;
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (name, number) = line.split_once(' ').unwrap();
            let ours = Command::named(name).unwrap().number;
            assert_eq!(
                format!("{ours:#x}"),
                format!("{:#x}", number.parse::<u32>().unwrap()),
                "{name}"
            );
            compared += 1;
        }
        println!("{compared} of {} numbers compared", TABLE.len());
        assert!(compared >= 100, "the header knows only {compared} names");
    }

    #[test]
    fn no_name_comes_twice() {
        let mut seen = HashSet::new();
        assert!(TABLE.iter().all(|entry| seen.insert(entry.name)));
    }

    #[test]
    fn no_surface_has_a_number_twice() {
        let mut seen = HashSet::new();
        for entry in TABLE {
            for surface in entry.surfaces {
                assert!(
                    seen.insert((surface.to_string(), entry.number)),
                    "{}",
                    entry.name
                );
            }
        }
    }

    #[test]
    fn names_and_numbers_are_read() {
        let run: Command = "KVM_RUN".parse().unwrap();
        assert_eq!(run.number, 0xae80);
        assert!(!run.takes_pointer());
        let number: Command = "0x4010ae42".parse().unwrap();
        assert!(number.is("KVM_GET_DIRTY_LOG") && number.takes_pointer());
        assert_eq!(number.to_string(), "0x4010ae42");
        assert!("KVM_RUNN".parse::<Command>().is_err());
        assert!("0x1ffffffff".parse::<Command>().is_err());
        assert!("44672".parse::<Command>().is_err());
    }
}
