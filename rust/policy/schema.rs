// SPDX-License-Identifier: GPL-2.0

//! What exists: surfaces, their commands, error numbers. The tables come from the uapi headers.

mod commands;
mod constants;
mod errno;
pub(crate) mod notation;

/// A kind of file whose ioctls a policy speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Surface {
    /// `/dev/kvm`.
    Kvm,
    /// A virtual machine.
    KvmVm,
    /// A virtual CPU.
    KvmVcpu,
    /// A device inside a virtual machine, made by `KVM_CREATE_DEVICE`.
    KvmDevice,
    /// `/dev/vfio/vfio`.
    VfioContainer,
    /// `/dev/vfio/GROUP`.
    VfioGroup,
    /// A device that is passed through.
    VfioDevice,
    /// `/dev/iommu`.
    Iommufd,
    /// `/dev/vhost-net`.
    VhostNet,
    /// `/dev/vhost-vsock`.
    VhostVsock,
    /// `/dev/vhost-scsi`.
    VhostScsi,
    /// `/dev/vhost-vdpa-N`.
    VhostVdpa,
    /// `/dev/sev`.
    Sev,
}

impl Surface {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Kvm,
        Self::KvmVm,
        Self::KvmVcpu,
        Self::KvmDevice,
        Self::VfioContainer,
        Self::VfioGroup,
        Self::VfioDevice,
        Self::Iommufd,
        Self::VhostNet,
        Self::VhostVsock,
        Self::VhostScsi,
        Self::VhostVdpa,
        Self::Sev,
    ];

    /// What a command is judged as that is called on such a file. Iommufd stands in the place of a
    /// VFIO container, as `/dev/vfio/vfio` or as what `VFIO_GROUP_SET_CONTAINER` is given: VFIO's
    /// commands are a container's there as well, or a rule about them would hold for one of two
    /// files that do the same. C: `iommufd_vfio_ioctl()`
    pub fn judged_as(self, command: u32) -> Self {
        // From VFIO_BASE to below IOMMUFD_CMD_BASE.
        match (self, command) {
            (Self::Iommufd, 0x3b64..0x3b80) => Self::VfioContainer,
            _ => self,
        }
    }

    /// The name that policies and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::KvmVm => "kvm-vm",
            Self::KvmVcpu => "kvm-vcpu",
            Self::KvmDevice => "kvm-device",
            Self::VfioContainer => "vfio-container",
            Self::VfioGroup => "vfio-group",
            Self::VfioDevice => "vfio-device",
            Self::Iommufd => "iommufd",
            Self::VhostNet => "vhost-net",
            Self::VhostVsock => "vhost-vsock",
            Self::VhostScsi => "vhost-scsi",
            Self::VhostVdpa => "vhost-vdpa",
            Self::Sev => "sev",
        }
    }

    /// The surface of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|surface| surface.name() == name)
    }

    /// The place in [`Self::ALL`].
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// An ioctl that the headers name.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The name of its macro.
    pub name: &'static str,
    /// The number that a 64-bit caller passes.
    pub number: u32,
    /// The number that a 32-bit caller passes; another one where the argument holds a pointer.
    pub compat_number: u32,
    /// Where it is handled: nowhere if it belongs to another architecture, or to nobody any more.
    pub handled: &'static [Handled],
    /// What the third argument is.
    pub argument: Argument,
}

/// A surface that has a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Handled {
    /// The kind of file.
    pub surface: Surface,
    /// The kernel function that tells the command from others.
    pub function: &'static str,
}

/// The third argument of an ioctl.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// The handler ignores it, or wants it to be 0.
    None,
    /// It is the value itself.
    Scalar {
        /// How many of its low bytes the handler looks at: 4 or 8.
        width: u8,
        /// The constants that belong here, as places in [`constants`].
        constants: &'static [u16],
    },
    /// It is the address of a struct.
    Struct(&'static Struct),
    /// Nobody here knows: the command is handled nowhere.
    Unknown,
}

/// A struct in the caller's memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Struct {
    /// Its C name, such as `kvm_userspace_memory_region`; `__u64` for a bare integer.
    pub name: &'static str,
    /// Its bytes, without a flexible array at its end.
    pub size: u32,
    /// Who reads it and who writes it.
    pub direction: Direction,
    /// What it has, in the order of offsets. Nested structs and unions are flattened, their names
    /// joined by dots; the members of a union overlap.
    pub fields: &'static [Field],
    /// How the kernel reads it from a 32-bit caller, where that is another layout.
    pub compat: Option<&'static Compat>,
    /// The field in which the caller says how many bytes the struct has (`argsz`, `size`): what lies
    /// beyond counts as 0.
    pub sized_by: Option<Place>,
    /// Whether the kernel goes on behind the size, as far as something else says that is not in the
    /// struct (`KVM_SET_XSAVE`), or with an array that it only writes (`KVM_GET_CPUID2`).
    pub open_ended: bool,
    /// What may stand at its end or behind a pointer in it, depending on one of its fields.
    pub variants: &'static [Variant],
}

/// The layout of a struct for 32-bit callers.
#[derive(Debug, PartialEq, Eq)]
pub struct Compat {
    /// Its bytes.
    pub size: u32,
    /// What it has, under the same names.
    pub fields: &'static [Field],
}

/// Which way an argument goes: what the handler does, whatever `_IOR` or `_IOW` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The kernel reads it.
    In,
    /// The kernel writes it, and reads nothing.
    Out,
    /// Both.
    InOut,
}

/// A member of a struct.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, with dots.
    pub name: &'static str,
    /// Bytes from the beginning of the struct; inside an array, of the element; inside a variant,
    /// of the variant.
    pub offset: u32,
    /// What it is.
    pub kind: FieldKind,
    /// The constants that belong here, as places in [`constants`].
    pub constants: &'static [u16],
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A number.
    Value {
        /// Its bytes: 1, 2, 4 or 8.
        width: u8,
        /// Whether it may be negative.
        signed: bool,
    },
    /// An address of the caller's: a rule can compare it, and nothing behind it is read, unless a
    /// [`Variant`] says so.
    Pointer {
        /// Its bytes: 4 or 8.
        width: u8,
    },
    /// Elements, one behind the other.
    Array(&'static Array),
}

/// The elements of an array.
#[derive(Debug, PartialEq, Eq)]
pub struct Array {
    /// Bytes from one element to the next.
    pub stride: u32,
    /// How many there are.
    pub len: Len,
    /// What an element has; an element that is a number has one field, named `element`.
    pub fields: &'static [Field],
}

/// How many elements an array has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    /// Always as many.
    Fixed(u32),
    /// As many as a field of the struct says; the array is at the struct's end.
    Counted {
        /// The field.
        count: Place,
        /// More than this many the kernel does not take either.
        limit: u32,
    },
    /// Whatever is left of the bytes that a field of the struct says the whole has.
    Rest {
        /// The field.
        size: Place,
        /// More than this many the kernel does not take either.
        limit: u32,
    },
}

/// Where an unsigned number stands in a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the beginning.
    pub offset: u32,
    /// Its bytes: 1, 2, 4 or 8.
    pub width: u8,
}

/// A struct that a command has only when one of its fields has some value.
#[derive(Debug, PartialEq, Eq)]
pub struct Variant {
    /// What the paths of its fields begin with, such as `data.launch_start`.
    pub name: &'static str,
    /// Its C name.
    pub struct_name: &'static str,
    /// When it is there.
    pub selector: Selector,
    /// Where it is.
    pub at: At,
    /// Its bytes, without a flexible array at its end.
    pub size: u32,
    /// What it has. Arrays have a fixed length here.
    pub fields: &'static [Field],
}

/// `field & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The field.
    pub place: Place,
    /// The bits that count.
    pub mask: u64,
    /// What they are.
    pub value: u64,
    /// The name of the value.
    pub constant: &'static str,
}

/// Where a variant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In the struct, this many bytes from its beginning.
    Inline(u32),
    /// Behind the pointer of 8 bytes that stands there.
    Pointer(u32),
}

/// A name for a number.
#[derive(Debug, PartialEq, Eq)]
pub struct Constant {
    /// The name of the macro or enumerator.
    pub name: &'static str,
    /// Its value; a negative one is sign-extended. Of a bit that the header gives by its number,
    /// such as `VIRTIO_F_VERSION_1`, the mask.
    pub value: u64,
}

/// What the verdict on a call of a command rests on, and why it holds when the handler acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The command alone: the handler reads no argument.
    Command,
    /// The argument itself, which no other thread can change.
    Scalar,
    /// What the argument points to: the handler gets the bytes that were judged.
    Sealed,
}

impl Judged {
    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Scalar => "scalar",
            Self::Sealed => "sealed",
        }
    }
}

impl Command {
    /// What a verdict on its calls rests on. `None` if nothing handles it.
    pub fn judged(&self) -> Option<Judged> {
        match self.argument {
            Argument::None => Some(Judged::Command),
            Argument::Scalar { .. } => Some(Judged::Scalar),
            Argument::Struct(found) if found.direction == Direction::Out => Some(Judged::Command),
            Argument::Struct(_) => Some(Judged::Sealed),
            Argument::Unknown => None,
        }
    }

    /// The members of its argument that lead to what no rule sees: addresses of the caller's that the
    /// kernel follows later.
    pub fn unfollowed(&self) -> impl Iterator<Item = &'static Field> {
        let (fields, variants) = match self.argument {
            Argument::Struct(found) if found.direction != Direction::Out => {
                (found.fields, found.variants)
            }
            _ => (&[][..], &[][..]),
        };
        fields.iter().filter(move |field| {
            let here = At::Pointer(field.offset);
            matches!(field.kind, FieldKind::Pointer { .. })
                && !variants.iter().any(|variant| variant.at == here)
        })
    }

    /// The surfaces that have it.
    pub fn surfaces(&self) -> impl ExactSizeIterator<Item = Surface> + Clone {
        self.handled.iter().map(|handled| handled.surface)
    }

    /// Whether callers of some word size call it by this number.
    pub fn has_number(&self, number: u32) -> bool {
        number == self.number || number == self.compat_number
    }

    /// Whether a surface has it.
    pub fn is_on(&self, surface: Surface) -> bool {
        self.surfaces().any(|here| here == surface)
    }
}

/// Every constant of the headers, sorted by name.
pub fn constants() -> &'static [Constant] {
    constants::CONSTANTS
}

/// The value of a constant's name, and its place in [`constants`].
pub fn constant(name: &str) -> Option<(u16, u64)> {
    let at = constants()
        .binary_search_by(|constant| constant.name.cmp(name))
        .ok()?;
    Some((u16::try_from(at).ok()?, constants().get(at)?.value))
}

/// Every ioctl of the headers, sorted by name.
pub fn commands() -> &'static [Command] {
    commands::COMMANDS
}

/// The ioctl of that name.
pub fn command(name: &str) -> Option<&'static Command> {
    let at = commands().binary_search_by(|command| command.name.cmp(name));
    commands().get(at.ok()?)
}

/// Where a command stands in [`commands`].
pub(crate) fn index_of(command: &Command) -> Option<u16> {
    let at = commands().binary_search_by(|other| other.name.cmp(command.name));
    u16::try_from(at.ok()?).ok()
}

/// The ioctl that a surface knows by that number, of 64-bit or of 32-bit callers.
pub fn command_by_number(surface: Surface, number: u32) -> Option<&'static Command> {
    commands()
        .iter()
        .find(|command| command.has_number(number) && command.is_on(surface))
}

/// Every error name with its number, in order of the numbers.
pub fn errnos() -> &'static [(&'static str, u16)] {
    errno::ERRNOS
}

/// The number of an error name.
pub fn errno(name: &str) -> Option<u16> {
    let found = errnos().iter().find(|(candidate, _)| *candidate == name)?;
    Some(found.1)
}

/// The name of an error number.
pub fn errno_name(number: u16) -> Option<&'static str> {
    let found = errnos()
        .iter()
        .find(|(_, candidate)| *candidate == number)?;
    Some(found.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_by_name() {
        assert!(commands().is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn surfaces_are_in_the_order_of_their_numbers() {
        for (index, surface) in Surface::ALL.into_iter().enumerate() {
            assert_eq!(surface.index(), index);
            assert_eq!(Surface::from_name(surface.name()), Some(surface));
        }
    }

    #[test]
    fn no_two_commands_of_a_surface_share_a_number() {
        for command in commands() {
            for surface in command.surfaces() {
                for number in [command.number, command.compat_number] {
                    assert_eq!(command_by_number(surface, number), Some(command));
                }
            }
        }
    }

    #[test]
    fn every_constant_is_found() {
        assert!(constants().is_sorted_by(|a, b| a.name < b.name));
        for (at, found) in constants().iter().enumerate() {
            assert_eq!(constant(found.name), Some((at as u16, found.value)));
        }
    }

    /// Every struct that a caller passes.
    fn structs() -> impl Iterator<Item = (&'static str, &'static Struct)> {
        commands()
            .iter()
            .filter_map(|command| match command.argument {
                Argument::Struct(argument) => Some((command.name, argument)),
                _ => None,
            })
    }

    fn end(field: &Field) -> u32 {
        field.offset
            + match field.kind {
                FieldKind::Value { width, .. } | FieldKind::Pointer { width } => u32::from(width),
                FieldKind::Array(array) => match array.len {
                    Len::Fixed(len) => array.stride * len,
                    Len::Counted { .. } | Len::Rest { .. } => 0,
                },
            }
    }

    fn is_place(fields: &[Field], place: Place) -> bool {
        fields.iter().any(|field| match field.kind {
            FieldKind::Value { width, .. } => {
                place
                    == Place {
                        offset: field.offset,
                        width,
                    }
            }
            _ => false,
        })
    }

    /// What holds for the fields of every struct, element and variant.
    fn check_fields(of: &str, size: u32, fields: &[Field], counted: bool) {
        assert!(fields.is_sorted_by_key(|field| field.offset), "{of}");
        for (at, field) in fields.iter().enumerate() {
            let name = field.name;
            assert!(end(field) <= size, "{of}.{name} ends behind {size}");
            assert!(
                !fields[..at].iter().any(|other| other.name == name),
                "{of}.{name} is there twice"
            );
            for &constant in field.constants {
                assert!(usize::from(constant) < constants().len());
            }
            match field.kind {
                FieldKind::Value { width, .. } => assert!([1, 2, 4, 8].contains(&width)),
                FieldKind::Pointer { width } => assert!([4, 8].contains(&width)),
                FieldKind::Array(array) => {
                    check_fields(name, array.stride, array.fields, false);
                    if let Len::Counted { count, limit } = array.len {
                        assert!(counted && limit > 0, "{of}.{name}");
                        assert!(is_place(fields, count), "{of}.{name}");
                        // At the end, where nothing else is.
                        let behind = fields.iter().map(end).max().unwrap();
                        assert!(field.offset >= behind, "{of}.{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn structs_hold_together() {
        for (command, argument) in structs() {
            check_fields(command, argument.size, argument.fields, true);
            assert!(
                !argument.fields.is_empty() || argument.open_ended,
                "{command}"
            );
            if let Some(compat) = argument.compat {
                check_fields(command, compat.size, compat.fields, true);
                let names = |fields: &'static [Field]| fields.iter().map(|field| field.name);
                assert!(names(compat.fields).eq(names(argument.fields)));
            }
            if let Some(place) = argument.sized_by {
                assert!(is_place(argument.fields, place), "{command}");
            }
            for variant in argument.variants {
                check_fields(variant.name, variant.size, variant.fields, false);
                let selector = variant.selector;
                assert!(
                    is_place(argument.fields, selector.place),
                    "{}",
                    variant.name
                );
                assert_eq!(constant(selector.constant).unwrap().1, selector.value);
                assert_eq!(selector.value & selector.mask, selector.value);
                match variant.at {
                    At::Inline(offset) => assert_eq!(offset, argument.size),
                    At::Pointer(offset) => assert!(argument.fields.iter().any(|field| {
                        field.offset == offset && field.kind == FieldKind::Pointer { width: 8 }
                    })),
                }
            }
        }
    }

    #[test]
    fn what_nobody_handles_is_not_described() {
        for command in commands() {
            let unknown = command.argument == Argument::Unknown;
            assert_eq!(command.handled.is_empty(), unknown, "{}", command.name);
        }
    }

    /// How many there are, so that a family cannot be lost unseen.
    #[test]
    fn counts() {
        let count = |prefix: &str| {
            let of = |command: &&Command| command.name.starts_with(prefix);
            let live = |command: &&Command| of(command) && !command.handled.is_empty();
            (
                commands().iter().filter(of).count(),
                commands().iter().filter(live).count(),
            )
        };
        assert_eq!(count("KVM_"), (152, 106));
        assert_eq!(count("VFIO_"), (34, 25));
        assert_eq!(count("IOMMU_"), (22, 22));
        assert_eq!(count("VHOST_"), (55, 55));
        assert_eq!(count("SEV_"), (1, 1));
        assert_eq!(commands().len(), 264);
    }

    #[test]
    fn every_name_is_found() {
        for found in commands() {
            assert_eq!(command(found.name), Some(found));
        }
        for &(name, number) in errnos() {
            assert_eq!(errno(name), Some(number));
            assert_eq!(errno_name(number), Some(name));
        }
    }
}
