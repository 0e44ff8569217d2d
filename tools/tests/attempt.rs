// SPDX-License-Identifier: GPL-2.0

//! `portcullis try`: whose profile, and what becomes of calls.

mod common;

use std::path::PathBuf;
use std::{env, fs, process};

use common::{portcullis, Answer};

const POLICY: &str = r#"policy host version 1

profile qemu
    match exe /usr/bin/qemu-system-*
    match uid 64055
    default deny
    allow kvm KVM_CREATE_VM if arg == KVM_X86_DEFAULT_VM
    allow kvm-vm KVM_CREATE_VCPU while setup if vm.vcpus < 4 and vm.irqchip != none
    deny  kvm-vm KVM_CREATE_VCPU while running errno EACCES reason "no vCPU is plugged"
    audit kvm-vm * if vm.cap(KVM_CAP_SPLIT_IRQCHIP) == 1
    allow kvm-vm KVM_SET_USER_MEMORY_REGION if vm.memory + memory_size <= 8G
    deny  kvm-vcpu KVM_RUN if vcpu.foreign == 1 errno EBUSY
    allow kvm-vcpu KVM_RUN if thread.traced == 0 and compat == 0

profile other
    default deny errno ENOENT
end
"#;

struct Policy(PathBuf);

impl Policy {
    fn new(name: &str, text: &str) -> Self {
        let file = env::temp_dir().join(format!("portcullis-try-{name}-{}", process::id()));
        fs::write(&file, text).unwrap();
        Self(file)
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        portcullis(&[&["try", self.0.to_str().unwrap()], arguments].concat())
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // Nobody misses it.
        let _ = fs::remove_file(&self.0);
    }
}

const QEMU: [&str; 4] = ["--exe", "/usr/bin/qemu-system-x86_64", "--uid", "64055"];

#[test]
fn the_profile_is_that_of_the_caller() {
    let policy = Policy::new("profile", POLICY);
    for (arguments, expected) in [
        (&QEMU[..], "profile qemu (line 3)\n"),
        (&QEMU[..2], "profile other (line 15)\n"),
        (&QEMU[2..], "profile other (line 15)\n"),
        (
            &["--exe", "/usr/bin/x/qemu-system-y", "--uid", "64055"],
            "profile other (line 15)\n",
        ),
        (&[], "profile other (line 15)\n"),
    ] {
        let answer = policy.ask(arguments);
        assert_eq!(
            (answer.code, answer.out.as_str(), answer.err.as_str()),
            (0, expected, "")
        );
    }
    let text = POLICY.replace("match uid", "match gid");
    let by_group = Policy::new("gid", &text);
    let answer = by_group.ask(&["--exe", QEMU[1], "--gid", "64055"]);
    assert_eq!(answer.out, "profile qemu (line 3)\n");
    for (word, value) in [("cgroup", "/qemu"), ("comm", "qemu"), ("label", "qemu")] {
        let text = POLICY.replace("match uid 64055", &format!("match {word} {value}"));
        let other = Policy::new(word, &text);
        let option = format!("--{word}");
        let answer = other.ask(&["--exe", QEMU[1], &option, value]);
        assert_eq!(answer.out, "profile qemu (line 3)\n", "{word}");
        let answer = other.ask(&["--exe", QEMU[1], &option, "/x"]);
        assert_eq!(answer.out, "profile other (line 15)\n", "{word}");
    }
}

#[test]
fn calls_are_judged_in_the_state_that_is_said() {
    let policy = Policy::new("calls", POLICY);
    let region = "kvm-vm:KVM_SET_USER_MEMORY_REGION";
    for (arguments, expected) in [
        (
            &["KVM_CREATE_VCPU"][..],
            "kvm-vm KVM_CREATE_VCPU while setup: deny, EPERM by the default on line 6\n",
        ),
        (
            &["KVM_CREATE_VCPU", "--vm", "vcpus=3,irqchip=split"],
            "kvm-vm KVM_CREATE_VCPU while setup: allow by the rule on line 8\n",
        ),
        (
            &[
                "KVM_CREATE_VCPU",
                "--vm",
                "vcpus=4",
                "--vm",
                "irqchip=kernel",
            ],
            "kvm-vm KVM_CREATE_VCPU while setup: deny, EPERM by the default on line 6\n",
        ),
        (
            &["KVM_CREATE_VCPU", "--vm", "irqchip=kernel,running"],
            "kvm-vm KVM_CREATE_VCPU while running: deny, EACCES by the rule on line 9: no vCPU is \
             plugged\n",
        ),
        (
            &["kvm:KVM_CREATE_VM", "--vm", "running"],
            "kvm KVM_CREATE_VM: allow by the rule on line 7\n",
        ),
        (
            &["kvm:KVM_CREATE_VM", "--arg", "KVM_X86_SNP_VM"],
            "kvm KVM_CREATE_VM: deny, EPERM by the default on line 6\n",
        ),
        (
            &[region, "--field", "memory_size=4G", "--vm", "memory=4G"],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: allow by the rule on line 11\n",
        ),
        (
            &[
                region,
                "--field",
                "memory_size=0x100000001",
                "--vm",
                "memory=4G",
            ],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: deny, EPERM by the default on line 6\n",
        ),
        (
            &[region, "--vm", "cap=KVM_CAP_SPLIT_IRQCHIP"],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: audit by the rule on line 10\n\
             kvm-vm KVM_SET_USER_MEMORY_REGION while setup: allow by the rule on line 11\n",
        ),
        (
            &["KVM_RUN", "--vcpu", "foreign"],
            "kvm-vcpu KVM_RUN while setup: deny, EBUSY by the rule on line 12\n",
        ),
        (
            &["KVM_RUN", "--thread", "traced"],
            "kvm-vcpu KVM_RUN while setup: deny, EPERM by the default on line 6\n",
        ),
        (
            &["KVM_RUN", "--compat"],
            "kvm-vcpu KVM_RUN while setup: deny, EPERM by the default on line 6\n",
        ),
        (
            &["KVM_RUN", "--thread", "traced=0,vcpu=1", "--vcpu", "ran"],
            "kvm-vcpu KVM_RUN while setup: allow by the rule on line 13\n",
        ),
        (
            &["vhost-net:0x1234"],
            "vhost-net 0x00001234: deny, EPERM by the default on line 6\n",
        ),
    ] {
        let answer = policy.ask(&[&QEMU, arguments].concat());
        let said = format!("profile qemu (line 3)\n{expected}");
        assert_eq!(
            (answer.code, answer.out, answer.err.as_str()),
            (0, said, ""),
            "{arguments:?}"
        );
    }
}

/// As the module has it: iommufd answers VFIO's commands in the place of a container.
#[test]
fn a_command_of_a_container_is_one_at_iommufd_too() {
    let text = "policy t version 1\nprofile other\ndefault deny\n\
                allow vfio-container VFIO_IOMMU_MAP_DMA\nend\n";
    let policy = Policy::new("iommufd", text);
    let answer = policy.ask(&["iommufd:0x3b71", "iommufd:0x3b81"]);
    assert_eq!(
        answer.out,
        "profile other (line 2)\n\
         iommufd 0x00003b71: allow by the rule on line 4\n\
         iommufd IOMMU_IOAS_ALLOC: deny, EPERM by the default on line 3\n"
    );
}

#[test]
fn what_makes_no_sense_is_told() {
    let policy = Policy::new("wrong", POLICY);
    for (arguments, expected) in [
        (
            &["--vm", "cpus=1"][..],
            "nothing is known of `vm.cpus`; did you mean `vm.vcpus`",
        ),
        (
            &["--vm", "irqchip=1"],
            "`vm.irqchip=1`: expected none, kernel, split",
        ),
        (&["--vm", "running=2"], "`vm.running=2`: expected 1 or 0"),
        (&["--vm", "vcpus=5G"], "`vm.vcpus=5G`: expected a number"),
        (&["--vm", "vcpus=x"], "`vm.vcpus=x`: expected a number"),
        (&["--vm", "cap=1"], "unknown capability `1`"),
        (
            &["--vm", "did=KVM_CREATE_VCPUS"],
            "`KVM_CREATE_VCPUS` is no command of a VM; did you mean `KVM_CREATE_VCPU`",
        ),
        (
            &["--profile", "vm=1"],
            "nothing is known of `profile.vm`; did you mean `profile.vms`?",
        ),
        (
            &["--file", "mappings=8G"],
            "`file.mappings=8G`: expected a number",
        ),
        (&["KVM_RUNN"], "KVM_RUN"),
        (&["KVM_MEM_READONLY"], "`KVM_MEM_READONLY` is no command"),
        (
            &["KVM_IRQFD", "--field", "gsy=1"],
            "KVM_IRQFD has no field `gsy`; did you mean `gsi`?",
        ),
        (
            &["KVM_IRQFD", "--field", "gsi=x"],
            "`x` is neither a number nor a constant",
        ),
        (
            &["KVM_RUN", "--arg", "x"],
            "`x` is neither a number nor a constant",
        ),
    ] {
        let answer = policy.ask(arguments);
        assert_eq!(answer.code, 1, "{arguments:?}");
        assert!(
            answer.err.contains(expected),
            "{arguments:?}: {}",
            answer.err
        );
    }
    let answer = portcullis(&["try", "/nowhere"]);
    assert_eq!(answer.code, 2);
    let bad = Policy::new("bad", "policy x version 1\n");
    let answer = bad.ask(&[]);
    assert_eq!((answer.code, answer.out.as_str()), (1, ""));
    assert!(answer.err.contains("cut off"), "{}", answer.err);
}

const LIMITS: &str = r#"policy host version 1
profile qemu
    match uid 64055
    default allow
    limit vms 2 reason "two are enough"
    limit vcpus 8 per profile errno EBUSY
    limit memory 8G
    limit irqfds 4
    limit mappings 100
    limit KVM_SET_USER_MEMORY_REGION 100/s
    deny kvm-vm KVM_CREATE_VCPU if vm.did(KVM_SEV_SNP_LAUNCH_FINISH) == 1
profile other
    default deny
end
"#;

#[test]
fn limits_are_kept_in_the_state_that_is_said() {
    let policy = Policy::new("limits", LIMITS);
    let region = "kvm-vm:KVM_SET_USER_MEMORY_REGION";
    for (arguments, expected) in [
        (
            &["KVM_CREATE_VM"][..],
            "kvm KVM_CREATE_VM: allow by the default on line 4\n",
        ),
        (
            &["KVM_CREATE_VM", "--profile", "vms=2"],
            "kvm KVM_CREATE_VM: deny, ENOSPC by the limit on line 5: two are enough\n",
        ),
        (
            &["KVM_CREATE_VCPU", "--profile", "vcpus=8"],
            "kvm-vm KVM_CREATE_VCPU while setup: deny, EBUSY by the limit on line 6\n",
        ),
        (
            &[
                "KVM_CREATE_VCPU",
                "--vm",
                "did=KVM_SEV_SNP_LAUNCH_FINISH,did=KVM_IRQFD",
            ],
            "kvm-vm KVM_CREATE_VCPU while setup: deny, EPERM by the rule on line 11\n",
        ),
        (
            &[region, "--vm", "memory=8G", "--field", "memory_size=4K"],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: deny, ENOMEM by the limit on line 7\n",
        ),
        (
            &[
                region,
                "--vm",
                "memory=8G,slot=4K",
                "--field",
                "memory_size=4K",
            ],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: allow by the default on line 4\n",
        ),
        (
            &[region, "--exceeded"],
            "kvm-vm KVM_SET_USER_MEMORY_REGION while setup: deny, EAGAIN by the limit on line 10\n",
        ),
        (
            &["KVM_IRQFD", "--vm", "irqfds=4"],
            "kvm-vm KVM_IRQFD while setup: deny, ENOSPC by the limit on line 8\n",
        ),
        (
            &[
                "KVM_IRQFD",
                "--vm",
                "irqfds=4",
                "--field",
                "flags=KVM_IRQFD_FLAG_DEASSIGN",
            ],
            "kvm-vm KVM_IRQFD while setup: allow by the default on line 4\n",
        ),
        (
            &["VFIO_IOMMU_MAP_DMA", "--file", "mappings=100"],
            "vfio-container VFIO_IOMMU_MAP_DMA: deny, ENOSPC by the limit on line 9\n",
        ),
        (
            &["IOMMU_IOAS_COPY"],
            "iommufd IOMMU_IOAS_COPY: deny, ENOSPC by the limit on line 9\n",
        ),
    ] {
        let answer = policy.ask(&[&["--uid", "64055"], arguments].concat());
        let said = format!("profile qemu (line 2)\n{expected}");
        assert_eq!(
            (answer.code, answer.out, answer.err.as_str()),
            (0, said, ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn every_part_of_the_state_is_explained_with_a_rule_that_loads() {
    for field in &portcullis_policy::state::FIELDS {
        let answer = portcullis(&["explain", field.name]);
        assert_eq!(
            (answer.code, answer.err.as_str()),
            (0, ""),
            "{}",
            field.name
        );
        let rule = answer.out.lines().last().unwrap();
        let text = format!("policy t version 1\nprofile other\ndefault allow\n{rule}\nend\n");
        assert!(rule.contains(field.name), "{}", answer.out);
        let policy = Policy::new(&format!("explain-{}", field.name), &text);
        let answer = portcullis(&["check", "--deny-warnings", policy.0.to_str().unwrap()]);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{text}");
    }
    let answer = portcullis(&["explain", "vm.irqchip"]);
    assert!(
        answer.out.contains("`none`, `kernel` or `split`"),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("kvm-vm, kvm-vcpu, kvm-device\n"),
        "{}",
        answer.out
    );
}
