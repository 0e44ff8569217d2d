// SPDX-License-Identifier: GPL-2.0

//! `portcullis explain`: everything that the schema has is explained, and what it proposes loads.

mod common;

use common::{portcullis, Answer};
use portcullis_policy::schema::{self, Argument, Command, Direction};
use portcullis_policy::{check, Heap, Surface};

/// The rules below `Example`.
fn examples(answer: &Answer) -> Vec<&str> {
    let lines: Vec<&str> = answer.out.lines().collect();
    let titles = lines.windows(2).filter(|pair| pair[0].trim() == "Example");
    titles.map(|pair| pair[1].trim()).collect()
}

/// The commands that a rule is about; the rule must load, and without a warning.
fn numbers(rule: &str) -> Vec<(Surface, u32)> {
    let text = format!("policy p version 1\nprofile other\n{rule}\ndefault allow\nend\n");
    let checked = match check::<Heap>(text.as_bytes()) {
        Ok(checked) => checked,
        Err(portcullis_policy::Rejection::Mistakes(mistakes)) => {
            panic!("{}", mistakes.report(text.as_bytes()))
        }
        Err(portcullis_policy::Rejection::OutOfMemory) => panic!("out of memory"),
    };
    let warnings = checked.warnings.report(text.as_bytes()).to_string();
    assert_eq!(warnings, "", "{rule}");
    let policy = checked.policy;
    let of_rule = policy
        .links
        .iter()
        .filter(|link| !policy.rules[usize::from(link.rule)].is_default);
    of_rule
        .filter_map(|link| {
            let target = policy.targets[usize::from(link.target)];
            Some((target.surface, target.command?))
        })
        .collect()
}

fn explained(name: &str) -> Answer {
    let answer = portcullis(&["explain", name]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{name}");
    answer
}

/// Whether there is a field that a condition can look at.
fn has_conditions(command: &Command) -> bool {
    match command.argument {
        Argument::Scalar { .. } => true,
        Argument::Struct(found) => found.direction != Direction::Out && !found.fields.is_empty(),
        Argument::None | Argument::Unknown => false,
    }
}

#[test]
fn every_command_has_an_example_that_loads() {
    for command in schema::commands() {
        let answer = explained(command.name);
        assert!(answer.out.starts_with(&format!("{}: ", command.name)));
        let examples = examples(&answer);
        if command.handled.is_empty() {
            assert!(examples.is_empty(), "{}", command.name);
            assert!(answer.out.contains("surface     none"), "{}", command.name);
            continue;
        }
        let [rule] = examples[..] else {
            panic!("{} has {} examples", command.name, examples.len());
        };
        let numbers = numbers(rule);
        for surface in command.surfaces() {
            assert!(numbers.contains(&(surface, command.number)), "{rule}");
        }
        assert_eq!(rule.contains(" if "), has_conditions(command), "{rule}");
    }
}

#[test]
fn every_command_is_told_with_all_that_belongs_to_it() {
    for command in schema::commands() {
        let answer = explained(command.name);
        for handled in command.handled {
            let (surface, function) = (handled.surface.name(), handled.function);
            let line = format!("surface     {surface}, handled by {function}()\n");
            assert!(answer.out.contains(&line), "{}: {line}", command.name);
            for number in [command.number, command.compat_number] {
                let number = format!("{number:#010x}");
                assert!(answer.out.contains(&number), "{}: {number}", command.name);
            }
        }
        let Argument::Struct(found) = command.argument else {
            continue;
        };
        for field in found.fields {
            let row = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [offset, _, _, name, ..] = words[..] else {
                    return false;
                };
                offset == field.offset.to_string() && name.trim_end_matches(':') == field.name
            };
            assert!(
                answer.out.lines().any(row),
                "{}.{}",
                command.name,
                field.name
            );
        }
        for variant in found.variants {
            let condition = format!("== {}", variant.selector.constant);
            for part in [variant.name, variant.struct_name, &condition] {
                assert!(answer.out.contains(part), "{}: {part}", command.name);
            }
        }
        let compat = format!(
            "32-bit callers, {} bytes",
            found.compat.map_or(0, |c| c.size)
        );
        assert_eq!(answer.out.contains(&compat), found.compat.is_some());
    }
}

#[test]
fn every_field_is_explained_and_its_example_loads() {
    let schema = portcullis(&["schema"]).out;
    let mut fields = 0;
    for command in schema::commands() {
        let begin = format!("field {}.", command.name);
        let paths: Vec<&str> = schema
            .lines()
            .filter(|line| line.starts_with(&begin))
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| !path.ends_with(".arg"))
            .collect();
        if paths.is_empty() {
            continue;
        }
        fields += paths.len();
        let answer = portcullis(&[&["explain"], &paths[..]].concat());
        assert_eq!(
            (answer.code, answer.err.as_str()),
            (0, ""),
            "{}",
            command.name
        );
        for path in paths {
            assert!(answer.out.contains(&format!("{path}: ")), "{path}");
        }
        let examples = examples(&answer);
        assert_eq!(
            !examples.is_empty(),
            has_conditions(command),
            "{}",
            command.name
        );
        for rule in examples {
            assert!(rule.contains(" if "), "{rule}");
            assert!(!numbers(rule).is_empty(), "{rule}");
        }
    }
    assert!(fields > 1000, "only {fields} fields");
}

#[test]
fn every_constant_is_explained() {
    for some in schema::constants().chunks(100) {
        let names: Vec<&str> = some.iter().map(|constant| constant.name).collect();
        let answer = portcullis(&[&["explain"], &names[..]].concat());
        assert_eq!((answer.code, answer.err.as_str()), (0, ""));
        for name in names {
            assert!(
                answer.out.contains(&format!("{name}: a constant\n")),
                "{name}"
            );
        }
    }
}

#[test]
fn a_constant_is_told_with_its_fields() {
    let answer = explained("KVM_MEM_READONLY");
    assert!(answer.out.contains("value       2\n"));
    let fields: Vec<&str> = answer
        .out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("belongs to"))
        .map(str::trim)
        .collect();
    let expected = [
        "KVM_SET_USER_MEMORY_REGION.flags",
        "KVM_SET_USER_MEMORY_REGION2.flags",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn surfaces_are_told_with_their_commands() {
    for surface in Surface::ALL {
        let answer = explained(surface.name());
        for command in schema::commands() {
            let line = format!("{:#010x}  {}\n", command.number, command.name);
            assert_eq!(answer.out.contains(&line), command.is_on(surface), "{line}");
        }
        for rule in examples(&answer) {
            numbers(rule);
        }
    }
}

#[test]
fn a_command_is_found_by_its_number() {
    for command in schema::commands() {
        for surface in command.surfaces() {
            for number in [command.number, command.compat_number] {
                for name in [
                    format!("{number:#x}"),
                    format!("{}:{number}", surface.name()),
                ] {
                    let answer = explained(&name);
                    let title = format!("{}: ", command.name);
                    let found = answer.out.lines().any(|line| line.starts_with(&title));
                    assert!(found, "{name} is not {}", command.name);
                }
            }
        }
    }
}

#[test]
fn a_surface_in_front_narrows_a_command() {
    let both = explained("KVM_GET_STATS_FD").out;
    let one = explained("kvm-vcpu:KVM_GET_STATS_FD");
    assert!(both.contains("kvm-vm,") && both.contains("kvm-vcpu,"));
    assert!(!one.out.contains("kvm-vm,") && one.out.contains("kvm-vcpu,"));
    assert_eq!(examples(&one), ["deny kvm-vcpu KVM_GET_STATS_FD"]);
}

#[test]
fn a_number_without_a_name_can_be_ruled_on() {
    let answer = explained("kvm-vm:0x5000ae10");
    let [rule] = examples(&answer)[..] else {
        panic!("no example");
    };
    assert_eq!(numbers(rule), [(Surface::KvmVm, 0x5000_ae10)]);
}

#[test]
fn a_struct_is_told_with_its_commands() {
    let answer = explained("kvm_cpuid2");
    assert!(answer.out.contains("KVM_SET_CPUID2 (in)\n"));
    assert!(answer.out.contains("entries: as many as nent says"));
}

#[test]
fn indexes_in_paths_are_left_out() {
    let plain = explained("KVM_X86_SET_MSR_FILTER.ranges.base").out;
    assert_eq!(
        explained("KVM_X86_SET_MSR_FILTER.ranges[15].base").out,
        plain
    );
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    for (name, expected) in [
        (
            "KVM_RUNN",
            "unknown name `KVM_RUNN`; did you mean `KVM_RUN`?",
        ),
        ("kvm_run", "unknown name `kvm_run`; did you mean `KVM_RUN`?"),
        ("kvm-vn", "unknown name `kvm-vn`; did you mean `kvm-vm`"),
        ("KVM_MEM_READONLI", "did you mean `KVM_MEM_READONLY`?"),
        ("SUPPORTED_HV", "did you mean `KVM_GET_SUPPORTED_HV_CPUID`?"),
        (
            "kvm:KVM_RUN",
            "KVM_RUN is no command of `kvm`; `kvm-vcpu` has it",
        ),
        (
            "kvm:KVM_CREATE_VMM",
            "`kvm` has no command `KVM_CREATE_VMM`; did you mean `KVM_CREATE_VM`?",
        ),
        ("kvmm:KVM_RUN", "unknown surface `kvmm`; did you mean `kvm`"),
        (
            "KVM_IRQFD.gsy",
            "KVM_IRQFD has no field `gsy`; did you mean `gsi`?",
        ),
        (
            "KVM_RUN.gsi",
            "KVM_RUN has no field `gsi`: it has no argument",
        ),
        (
            "KVM_CREATE_VCPU.id",
            "KVM_CREATE_VCPU has no field `id`: its argument is a plain number",
        ),
        ("0x1234", "no command has the number 0x1234"),
        ("0x123456789", "`0x123456789` is no number of a command"),
        ("", "unknown name ``\n"),
    ] {
        let answer = portcullis(&["explain", name]);
        assert_eq!((answer.code, answer.out.as_str()), (1, ""), "{name}");
        assert!(
            answer.err.starts_with("portcullis: error: "),
            "{}",
            answer.err
        );
        assert!(answer.err.contains(expected), "{}", answer.err);
    }
}

#[test]
fn an_unknown_name_does_not_hide_the_others() {
    let answer = portcullis(&["explain", "KVM_RUNN", "KVM_SMI"]);
    assert_eq!(answer.code, 1);
    assert!(answer.out.starts_with("KVM_SMI: an ioctl\n"));
}

#[test]
fn limits_are_told_where_they_count() {
    for (name, expected) in [
        ("KVM_CREATE_VCPU", Some("`limit vcpus`")),
        (
            "KVM_SET_USER_MEMORY_REGION2",
            Some("`limit memory`, `limit memslots`"),
        ),
        ("IOMMU_IOAS_MAP", Some("`limit mappings`")),
        ("VFIO_SET_IOMMU", Some("`limit mappings`")),
        ("KVM_RUN", None),
    ] {
        let answer = explained(name);
        let mut lines = answer.out.lines();
        let found = lines.find_map(|line| line.trim().strip_prefix("limited by"));
        assert_eq!(found.map(str::trim), expected, "{name}");
    }
}
