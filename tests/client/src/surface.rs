// SPDX-License-Identifier: GPL-2.0

//! The kinds of file that ioctls go to.

use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// /dev/kvm itself.
    Kvm,
    Vm,
    Vcpu,
    /// The fd of KVM_CREATE_DEVICE.
    Device,
    /// /dev/null, which nobody guards: the control of a measurement.
    Tty,
}

const NAMES: [(Surface, &str); 5] = [
    (Surface::Kvm, "kvm"),
    (Surface::Vm, "kvm-vm"),
    (Surface::Vcpu, "kvm-vcpu"),
    (Surface::Device, "kvm-device"),
    (Surface::Tty, "tty"),
];

impl FromStr for Surface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(surface, _)| *surface)
            .ok_or_else(|| {
                format!("`{text}` is no surface: kvm, kvm-vm, kvm-vcpu, kvm-device or tty")
            })
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(surface, _)| surface == self);
        f.write_str(name.map_or("?", |(_, name)| name))
    }
}
