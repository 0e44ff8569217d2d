// SPDX-License-Identifier: GPL-2.0

//! `portcullis vms`: the file of the module as a table and as JSON.

mod common;

use std::path::PathBuf;
use std::{env, fs, process};

use common::{command, portcullis, with_input, Answer};

/// A folder in the place of securityfs.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("portcullis-vms-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn with(name: &str, lines: &str) -> Self {
        let root = Self::new(name);
        fs::create_dir(root.0.join("portcullis")).unwrap();
        fs::write(root.0.join("portcullis/vms"), lines).unwrap();
        root
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        portcullis(&[&["vms", "--root", self.0.to_str().unwrap()], arguments].concat())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Nobody misses it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two VMs, the first of which was made `ago` seconds ago.
fn two(ago: f64) -> String {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let created = (uptime - ago).max(0.001);
    format!(
        "vm=1 pid=400 comm=CPU\\0400/KVM exe=/usr/bin/qemu-system-x86_64 uid=64055 gid=104 cgroup=/machine.slice label=- \
         profile=qemu phase=running type=0 vcpus=2 memslots=5 memory=4294967296 irqchip=split devices=1 vfio-files=0 \
         irqfds=12 ioeventfds=6 zones=1 calls=90071992547409925 denied=2 would-deny=0 created={created:.3} last-call={created:.3} \
         last-denial=-\n\
         vm=17 pid=401 comm=\\377 exe=- uid=0 gid=0 cgroup=- label=- profile=other phase=setup type=4 vcpus=0 memslots=0 \
         memory=0 irqchip=none devices=0 vfio-files=0 irqfds=0 ioeventfds=0 zones=0 calls=- denied=0 would-deny=7 created=- \
         last-call=- last-denial=-\n"
    )
}

#[test]
fn a_table_says_it_for_people() {
    let root = Root::with("table", &two(3.4));
    let answer = root.ask(&[]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let lines: Vec<&str> = answer.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", answer.out);
    assert!(lines[0].starts_with("VM  PID"), "{}", lines[0]);
    for word in [
        "qemu",
        "running",
        "4G",
        " s ago",
        "/usr/bin/qemu-system-x86_64",
    ] {
        assert!(lines[1].contains(word), "{word}: {}", lines[1]);
    }
    assert!(lines[2].ends_with(r"(\377)"), "{}", lines[2]);
    let column = lines[0].find("PROGRAM").unwrap();
    assert_eq!(lines[1].find("/usr"), Some(column));
    assert!(!answer.out.contains('\u{1b}'), "colours without a terminal");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let root = Root::with("colours", &two(3.4));
    let mut command = command();
    command.args(["vms", "--root", root.0.to_str().unwrap()]);
    let answer = with_input(command.env("CLICOLOR_FORCE", "1"), b"");
    assert!(answer.out.contains('\u{1b}'), "{}", answer.out);
}

#[test]
fn json_is_one_array_of_objects() {
    let root = Root::with("json", &two(3.4));
    let answer = root.ask(&["--json"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let found: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    let (first, second) = (&found[0], &found[1]);
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(first["comm"], "CPU 0/KVM");
    assert_eq!(first["memory"], 4_294_967_296_u64);
    assert_eq!(first["calls"], 90_071_992_547_409_925_u64);
    assert_eq!(first["vfio_files"], 0);
    assert!(first["created"].is_f64() && first["last_denial"].is_null());
    assert_eq!(first["escaped"], serde_json::json!([]));
    assert!(second["exe"].is_null() && second["calls"].is_null() && second["label"].is_null());
    assert_eq!(second["comm"], r"\377");
    assert_eq!(second["escaped"], serde_json::json!(["comm"]));
    // 26 keys of the file, and that one.
    assert_eq!(first.as_object().unwrap().len(), 27);
}

#[test]
fn some_can_be_asked_for() {
    let root = Root::with("filters", &two(3.4));
    for (arguments, programs) in [
        (&["--profile", "qemu"][..], &["qemu-system"][..]),
        (&["--profile", "other"], &[r"(\377)"]),
        (&["--pid", "400"], &["qemu-system"]),
        (&["--pid", "401", "--profile", "qemu"], &[]),
        (&["--pid", "40"], &[]),
        (&["--profile", "qem"], &[]),
    ] {
        let answer = root.ask(arguments);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{arguments:?}");
        let rows: Vec<&str> = answer.out.lines().skip(1).collect();
        assert_eq!(rows.len(), programs.len(), "{arguments:?}: {}", answer.out);
        for (row, program) in rows.iter().zip(programs) {
            assert!(row.contains(program), "{arguments:?}: {row}");
        }
    }
    assert_eq!(root.ask(&["--pid", "40", "--json"]).out, "[]\n");
}

#[test]
fn no_vms_are_no_lines() {
    let root = Root::with("none", "");
    let answer = root.ask(&[]);
    assert_eq!(
        (answer.code, answer.out.as_str(), answer.err.as_str()),
        (0, "", "")
    );
    assert_eq!(root.ask(&["--json"]).out, "[]\n");
}

#[test]
fn what_is_in_the_way_is_told_with_what_helps() {
    let told = |root: &Root, code: i32, words: &[&str]| {
        let answer = root.ask(&[]);
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (code, ""),
            "{}",
            answer.err
        );
        for word in words {
            assert!(answer.err.contains(word), "{word}: {}", answer.err);
        }
        assert_eq!(answer.err.lines().count(), 1, "{}", answer.err);
    };
    let root = Root::new("unmounted");
    told(
        &root,
        2,
        &["securityfs is not mounted", "mount -t securityfs"],
    );
    fs::create_dir(root.0.join("lockdown")).unwrap();
    told(
        &root,
        2,
        &["the module is not loaded", "insmod portcullis.ko"],
    );
    fs::create_dir(root.0.join("portcullis")).unwrap();
    told(&root, 2, &["portcullis/vms", "older than this command"]);
    fs::write(root.0.join("portcullis/vms"), "vm=1 pid=2\nno line\n").unwrap();
    told(&root, 1, &["portcullis/vms:2:", "KEY=VALUE"]);
    drop(root);
    told(
        &Root(env::temp_dir().join("there is no such folder")),
        2,
        &["securityfs is not mounted"],
    );
}
