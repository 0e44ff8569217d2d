// SPDX-License-Identifier: GPL-2.0

//! Every field of every command: from its name to a rule, to the bytes that C gives it, to a verdict.
//!
//! Of the schema only names go into the bytes: a C program is written that fills each struct of the
//! kernel's headers through its members, and the compiler says what stands where, how wide it is and
//! whether it is signed. A rule `if FIELD == VALUE` must then deny this struct and no other.
//!
//! PORTCULLIS_KERNEL_SOURCE and PORTCULLIS_KERNEL_BUILD are the folders of a kernel's source and of
//! its build; tests/run sets them.

mod model;

use model::judge::Pages;
use model::Layout;
use portcullis_policy::schema::{
    self, Argument, Array, At, Command, Direction, Field, FieldKind, Len, Place, Struct, Variant,
};
use portcullis_policy::{
    parse, Bytes, Heap, InList, Kind, Memory, Rejection, Request, Surface, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Where the argument and what a pointer in it leads to are in the caller's memory.
const ARGUMENT: u64 = 0x10000;
const BEHIND: u64 = 0x40000;
/// Elements of an array that says how many it has.
const COUNT: u32 = 2;

/// Members that C writes otherwise than policies do.
const OTHERWISE: [(&str, &str, &str); 8] = [
    ("iommu_hwpt_alloc", "data", "data_uptr"),
    ("kvm_sev_cmd", "flags", "((struct kvm_tdx_cmd *)p)->flags"),
    (
        "kvm_sev_cmd",
        "hw_error",
        "((struct kvm_tdx_cmd *)p)->hw_error",
    ),
    // Arrays of arrays are one array.
    ("kvm_fpu", "fpr", "((__u8 *)p->fpr)"),
    ("kvm_fpu", "xmm", "((__u8 *)p->xmm)"),
    // Bit fields have no address; these follow `reported_tcb`.
    (
        "sev_user_data_snp_config",
        "mask",
        "(*(__u32 *)(&v->reported_tcb + 1))",
    ),
    ("vfio_irq_set", "data.bool", "((__u8 *)p->data)"),
    ("vfio_irq_set", "data.eventfd", "((__s32 *)p->data)"),
];

/// One field of one struct.
struct Case {
    layout: Layout,
    /// What stands before and behind `== VALUE`.
    before: String,
    after: &'static str,
    /// The type of what is behind the pointer, or inside, if the field is there.
    variant: Option<&'static Variant>,
    /// What else must be in the struct for the field to be there.
    setup: String,
    /// The member.
    lvalue: String,
    /// What makes it another variant.
    unsetup: String,
}

/// What the C program says of a case.
#[derive(Debug)]
struct Filled {
    value: String,
    argument: Vec<u8>,
    behind: Vec<u8>,
}

fn is_number(c_name: &str) -> bool {
    c_name.starts_with("__") || matches!(c_name, "int" | "unsigned int")
}

fn c_type(name: &str) -> String {
    match is_number(name) {
        true => name.into(),
        false => format!("struct {name}"),
    }
}

/// The member of that name of whatever a pointer leads to; a bare number has none.
fn member(pointer: &str, c_name: &str, path: &str) -> String {
    match is_number(c_name) {
        true => format!("(*{pointer})"),
        false => format!("{pointer}->{path}"),
    }
}

/// The member that a variant is in, or that points to it.
fn holder(whole: &Struct, variant: &Variant) -> &'static str {
    let holder = variant.name.rsplit_once('.');
    let holder = holder.map_or(variant.name, |(holder, _)| holder);
    let otherwise = OTHERWISE
        .iter()
        .find(|row| (row.0, row.1) == (whole.name, holder));
    otherwise.map_or(holder, |row| row.2)
}

/// The name of the field that stands at a place.
fn name_at(layout: Layout, place: Place) -> &'static str {
    let is_there = |field: &&Field| {
        field.offset == place.offset
            && matches!(field.kind, FieldKind::Value { width, .. } if width == place.width)
    };
    let found = layout.fields().iter().find(is_there);
    found
        .unwrap_or_else(|| panic!("{place:?} of {} has no name", layout.command.name))
        .name
}

struct Cases(Vec<Case>);

impl Cases {
    fn layout(&mut self, layout: Layout, whole: &'static Struct) {
        let mut setup = String::new();
        if let Some(place) = whole.sized_by {
            let size = name_at(layout, place);
            write!(setup, "p->{size} = sizeof(a); ").unwrap();
        }
        self.fields(layout, whole, None, layout.fields(), &setup);
        for variant in layout.variants() {
            let selector = variant.selector;
            let member = name_at(layout, selector.place);
            let mut setup = format!("{setup}p->{member} = {}; ", selector.constant);
            if let At::Pointer(_) = variant.at {
                write!(setup, "SET(p->{}, BEHIND); ", holder(whole, variant)).unwrap();
            }
            self.fields(layout, whole, Some(variant), variant.fields, &setup);
        }
    }

    fn fields(
        &mut self,
        layout: Layout,
        whole: &'static Struct,
        variant: Option<&'static Variant>,
        fields: &'static [Field],
        setup: &str,
    ) {
        let (pointer, name) = match variant {
            Some(variant) => ("v", variant.struct_name),
            None => ("p", whole.name),
        };
        for field in fields {
            let c = match OTHERWISE
                .iter()
                .find(|row| (row.0, row.1) == (name, field.name))
            {
                Some(row) => row.2.into(),
                None => member(pointer, name, field.name),
            };
            let path = match variant {
                Some(variant) => format!("{}.{}", variant.name, field.name),
                None => field.name.into(),
            };
            let mut add = |before: String, after, setup: &str, lvalue: String| {
                let unsetup = variant.map_or_else(String::new, |variant| {
                    let member = name_at(layout, variant.selector.place);
                    format!("p->{member} = ~(unsigned){}", variant.selector.constant)
                });
                self.0.push(Case {
                    layout,
                    before,
                    after,
                    variant,
                    setup: setup.into(),
                    lvalue,
                    unsetup,
                });
            };
            let FieldKind::Array(array) = field.kind else {
                add(path, "", setup, c);
                continue;
            };
            let mut setup = String::from(setup);
            let last = match array.len {
                Len::Fixed(count) => count - 1,
                Len::Counted { count, .. } => {
                    let name = name_at(layout, count);
                    add(format!("count({path})"), "", &setup, format!("p->{name}"));
                    write!(setup, "p->{name} = {COUNT}; ").unwrap();
                    COUNT - 1
                }
                Len::Rest { size, .. } => {
                    let name = name_at(layout, size);
                    let bytes = format!("((char *)&{c}[{COUNT}] - (char *)p)");
                    write!(setup, "p->{name} = {bytes}; ").unwrap();
                    COUNT - 1
                }
            };
            for (name, behind) in of_element(array) {
                let any = format!("any {path} ({name}");
                add(any, ")", &setup, format!("{c}[{last}]{behind}"));
                let is_nested = name.contains('[');
                if !matches!(array.len, Len::Fixed(_)) || is_nested {
                    continue;
                }
                for index in BTreeSet::from([0, last]) {
                    let named = match name.as_str() {
                        "element" => format!("{path}[{index}]"),
                        _ => format!("{path}[{index}].{name}"),
                    };
                    add(named, "", &setup, format!("{c}[{index}]{behind}"));
                }
            }
        }
    }
}

/// What the elements of an array have: for policies, and for C.
fn of_element(array: &'static Array) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for field in array.fields {
        match field.kind {
            FieldKind::Array(inner) => {
                let Len::Fixed(count) = inner.len else {
                    panic!("an array without an end inside of an array");
                };
                for (name, behind) in of_element(inner) {
                    for index in BTreeSet::from([0, count - 1]) {
                        let named = match name.as_str() {
                            "element" => format!("{}[{index}]", field.name),
                            _ => format!("{}[{index}].{name}", field.name),
                        };
                        all.push((named, format!(".{}[{index}]{behind}", field.name)));
                    }
                }
            }
            _ if field.name == "element" && array.fields.len() == 1 => {
                all.push((field.name.into(), String::new()));
            }
            _ => all.push((field.name.into(), format!(".{}", field.name))),
        }
    }
    all
}

const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
#include <linux/types.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <linux/iommufd.h>
#include <linux/vhost.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/psp-sev.h>
#include <linux/kvm_para.h>

/* A plain char is a byte. */
#define IS_SIGNED(x) _Generic((x), signed char: 1, short: 1, int: 1, long: 1, long long: 1, \
	default: 0)
#define SET(member, number) \
	do { unsigned long long n = (number); memcpy(&(member), &n, sizeof(member)); } while (0)

static unsigned long long raw(int id, int round, int size)
{
	unsigned long long all = size == 8 ? ~0ULL : (1ULL << size * 8) - 1;
	unsigned long long value = (id + 1) * 0x9e3779b97f4a7c15ULL >> (64 - size * 8);

	/* What everything else is filled with. */
	if (value == (0xa5a5a5a5a5a5a5a5ULL & all))
		value ^= 0x10;
	if (round == 1)
		value ^= 1;
	if (round == 2)
		value ^= 1ULL << (size * 8 - 1);
	return value;
}

static void hex(const unsigned char *bytes, int len)
{
	putchar(' ');
	if (!len)
		putchar('-');
	while (len--)
		printf("%02x", *bytes++);
}

static void put(int id, int round, unsigned long long value, int size, int is_signed,
		const unsigned char *a, int alen, const unsigned char *b, int blen)
{
	int unused = 64 - size * 8;

	printf(is_signed ? "%d %d %lld" : "%d %d %llu", id, round,
	       is_signed ? (long long)(value << unused) >> unused : (long long)value);
	hex(a, alen);
	hex(b, blen);
	putchar('\n');
}

/* VARIANT is where `v` points to: to a, or to b, which has the other struct. */
#define CASE(id, WIDEST, TYPE, OTHER, BLEN, VARIANT, SETUP, LVALUE, UNSETUP) \
static void case_##id(int round) \
{ \
	static unsigned char a[sizeof(TYPE) + sizeof(OTHER) + 256] __attribute__((aligned(16))); \
	static unsigned char b[sizeof(OTHER) + 16] __attribute__((aligned(16))); \
	TYPE *p = (void *)a; \
	memset(a, 0xa5, sizeof(a)); \
	memset(b, 0xa5, sizeof(b)); \
	SETUP \
	OTHER *v = (void *)(VARIANT); \
	unsigned long long value = \
		raw(id, round, sizeof(LVALUE) > WIDEST ? WIDEST : sizeof(LVALUE)); \
	memcpy(&(LVALUE), &value, sizeof(LVALUE)); \
	if (round == 3) { UNSETUP; } \
	(void)v; \
	put(id, round, value, sizeof(LVALUE), IS_SIGNED(LVALUE), a, sizeof(a), b, BLEN); \
}
"#;

/// The program that fills the structs of these cases.
fn program(cases: &[(usize, &Case)]) -> String {
    let mut text = String::from(PROGRAM);
    writeln!(text, "#define BEHIND {BEHIND:#x}").unwrap();
    for (id, case) in cases {
        let whole = case.layout.whole().unwrap();
        let (other, len, at) = match case.variant {
            None => ("char".into(), "0", "b".into()),
            Some(variant) => {
                let other = c_type(variant.struct_name);
                match variant.at {
                    At::Pointer(_) => (other, "sizeof(b)", String::from("b")),
                    At::Inline(_) => (other, "0", format!("&p->{}", holder(whole, variant))),
                }
            }
        };
        // A rule's values must fit in what 32-bit callers pass as well.
        let widest = if whole.compat.is_some() { 4 } else { 8 };
        let Case {
            setup,
            lvalue,
            unsetup,
            ..
        } = case;
        writeln!(
            text,
            "CASE({id}, {widest}, {}, {other}, {len}, {at}, {setup}, {lvalue}, {unsetup})",
            c_type(whole.name)
        )
        .unwrap();
    }
    text += "int main(void)\n{\n";
    for (id, case) in cases {
        let rounds = 3 + u32::from(case.variant.is_some());
        for round in 0..rounds {
            writeln!(text, "\tcase_{id}({round});").unwrap();
        }
    }
    text + "\treturn 0;\n}\n"
}

fn folder(name: &str) -> PathBuf {
    let Some(folder) = env::var_os(name) else {
        panic!(
            "{name} is not set: PORTCULLIS_KERNEL_SOURCE is the folder of a kernel's source \
             (scripts/kernel source prints one), PORTCULLIS_KERNEL_BUILD that of its build; \
             tests/run engine sets both"
        );
    };
    folder.into()
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Compiles and runs a program; what it printed.
fn run(bits: u32, name: &str, text: &str) -> String {
    let (source, build) = (
        folder("PORTCULLIS_KERNEL_SOURCE"),
        folder("PORTCULLIS_KERNEL_BUILD"),
    );
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{bits}"));
    // What `make headers_install` takes out of the headers.
    fs::create_dir_all(here.join("linux")).unwrap();
    for name in ["compiler.h", "compiler_types.h"] {
        fs::write(here.join("linux").join(name), "").unwrap();
    }
    let file = here.join("fill.c");
    let binary = here.join("fill");
    fs::write(&file, text).unwrap();
    let mut cc = process::Command::new(env::var("CC").unwrap_or_else(|_| "cc".into()));
    cc.args([&format!("-m{bits}"), "-O0", "-w", "-static"]);
    cc.args(["-D__EXPORTED_HEADERS__", "-D__user="]);
    cc.arg("-D__packed=__attribute__((packed))")
        .arg("-I")
        .arg(&here);
    for folder in [
        build.join("arch/x86/include/generated/uapi"),
        source.join("arch/x86/include/uapi"),
        source.join("include/uapi"),
    ] {
        assert!(folder.is_dir(), "{} is no folder", folder.display());
        cc.arg("-I").arg(folder);
    }
    let done = cc.arg("-o").arg(&binary).arg(&file).output();
    let done = done.unwrap_or_else(|error| panic!("cc: {error}"));
    let errors = String::from_utf8_lossy(&done.stderr);
    let errors: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("error:"))
        .collect();
    assert!(
        done.status.success(),
        "{} does not compile:\n{}",
        file.display(),
        errors[..errors.len().min(20)].join("\n")
    );
    let done = process::Command::new(&binary).output().unwrap();
    assert!(
        done.status.success(),
        "{}: {}",
        binary.display(),
        done.status
    );
    String::from_utf8(done.stdout).unwrap()
}

/// What a program printed of each case and round.
fn filled(printed: &str) -> BTreeMap<(usize, u32), Filled> {
    let mut all = BTreeMap::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, round, value, argument, behind] = words[..] else {
            panic!("{line}");
        };
        all.insert(
            (id.parse().unwrap(), round.parse().unwrap()),
            Filled {
                value: value.into(),
                argument: bytes(argument),
                behind: bytes(behind),
            },
        );
    }
    all
}

struct Reader(Pages);

impl Memory for Reader {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        match self.0.bytes(u128::from(address), into.len() as u128) {
            Some(bytes) => {
                into.copy_from_slice(&bytes);
                true
            }
            None => false,
        }
    }
}

/// Every command that has a layout, with the surfaces that have it.
fn commands_of(layout: Layout) -> impl Iterator<Item = &'static Command> {
    let whole = layout.whole().unwrap();
    let has = move |command: &&Command| match command.argument {
        Argument::Struct(other) => std::ptr::eq(whole, other) && !command.handled.is_empty(),
        _ => false,
    };
    schema::commands().iter().filter(has)
}

fn policy(rule: &str) -> Result<portcullis_policy::Policy<Heap>, (String, Kind)> {
    let text = format!("policy t version 1\nprofile other\ndefault allow\n{rule}\nend\n");
    match parse::<Heap>(text.as_bytes()) {
        Ok(policy) => Ok(policy),
        Err(Rejection::Mistakes(mistakes)) => Err((
            mistakes.report(text.as_bytes()).to_string(),
            mistakes.list[0].kind,
        )),
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    }
}

#[test]
fn each_field_is_where_c_puts_it() {
    let mut cases = Cases(Vec::new());
    let mut seen = BTreeSet::new();
    for command in schema::commands() {
        let Argument::Struct(whole) = command.argument else {
            continue;
        };
        if command.handled.is_empty() || !seen.insert(std::ptr::from_ref(whole) as usize) {
            continue;
        }
        for layout in Layout::all(command) {
            cases.layout(layout, whole);
        }
    }
    let cases = cases.0;
    let of = |compat| -> Vec<(usize, &Case)> {
        let all = cases.iter().enumerate();
        all.filter(|(_, case)| case.layout.compat == compat)
            .collect()
    };
    let mut filled = self::filled(&run(64, "fields", &program(&of(false))));
    filled.extend(self::filled(&run(32, "fields", &program(&of(true)))));

    let mut wrong = Vec::new();
    let (mut rules, mut fields) = (0, BTreeSet::new());
    for (id, case) in cases.iter().enumerate() {
        let value = &filled[&(id, 0)].value;
        for command in commands_of(case.layout) {
            for surface in command.surfaces() {
                let Case { before, after, .. } = case;
                let (surface_name, name) = (surface.name(), command.name);
                let rule = format!("deny {surface_name} {name} if {before} == {value}{after}");
                let policy = match policy(&rule) {
                    Ok(policy) => policy,
                    Err((report, _)) => {
                        wrong.push(report);
                        continue;
                    }
                };
                rules += 1;
                fields.insert((name, before));
                let number = match case.layout.compat {
                    true => command.compat_number,
                    false => command.number,
                };
                let request = Request {
                    surface,
                    command: number,
                    arg: ARGUMENT,
                    compat: case.layout.compat,
                };
                for round in 0..4 {
                    let Some(filled) = filled.get(&(id, round)) else {
                        continue;
                    };
                    let mut memory = Reader(Pages(vec![
                        (ARGUMENT, filled.argument.clone()),
                        (BEHIND, filled.behind.clone()),
                    ]));
                    let head = policy.head(surface, number).unwrap();
                    let expected = match round {
                        0 => Verdict::Deny { errno: 1 },
                        _ => Verdict::Allow,
                    };
                    let found = policy
                        .fetch(head, &request, InList::<Heap>::new(), &mut memory)
                        .map(|fetched| {
                            policy
                                .decide(head, &request, fetched.bytes(), |_| {})
                                .map(|decision| decision.verdict)
                        });
                    if found != Ok(Some(expected)) {
                        wrong.push(format!(
                            "{rule}\n  C member: {}, compat: {}\n  {} in it: {found:?}\n",
                            case.lvalue, case.layout.compat, filled.value
                        ));
                        break;
                    }
                }
            }
        }
    }
    println!("{rules} rules about {} fields of commands", fields.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].concat()
    );
    assert!(rules > 1500, "only {rules} rules");
}

#[test]
fn what_the_kernel_only_writes_cannot_be_compared() {
    let mut count = 0;
    for command in schema::commands() {
        let Argument::Struct(whole) = command.argument else {
            continue;
        };
        if whole.direction != Direction::Out || command.handled.is_empty() {
            continue;
        }
        for field in whole.fields {
            let rule = format!("deny {} if {} == 0", command.name, field.name);
            let (_, kind) = policy(&rule)
                .err()
                .expect("a rule about what is only written");
            let is_array = matches!(field.kind, FieldKind::Array(_));
            assert!(kind == Kind::WrittenOnly || is_array, "{rule}: {kind:?}");
            count += 1;
        }
    }
    assert!(count > 10, "only {count} fields are only written");
}

/// The values of some expressions, as a compiler for so many bits sees them.
fn values(bits: u32, name: &str, expressions: &[&str]) -> Vec<u64> {
    let mut text = String::from(PROGRAM);
    text += "int main(void)\n{\n";
    for expression in expressions {
        writeln!(
            text,
            "\tprintf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
    }
    text += "\treturn 0;\n}\n";
    let printed = run(bits, name, &text);
    printed.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn each_command_has_the_number_that_c_gives_it() {
    let all = schema::commands().iter();
    let commands: Vec<&Command> = all.filter(|command| !command.handled.is_empty()).collect();
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    let native = values(64, "commands", &names);
    let compat = values(32, "commands", &names);
    for (index, command) in commands.iter().enumerate() {
        let numbers = [native[index] as u32, compat[index] as u32];
        for surface in command.surfaces() {
            let rule = format!("deny {} {}", surface.name(), command.name);
            let policy = policy(&rule).unwrap_or_else(|(report, _)| panic!("{report}"));
            let denies = |number: u32| {
                let request = Request {
                    surface,
                    command: number,
                    arg: 0,
                    compat: false,
                };
                let head = policy.head(surface, number).unwrap();
                let decision = policy.decide(head, &request, Bytes::default(), |_| {});
                decision.unwrap().verdict != Verdict::Allow
            };
            for (number, other) in [(numbers[0], numbers[1]), (numbers[1], numbers[0])] {
                assert!(denies(number), "{rule}: {number:#x}");
                for bit in 0..32 {
                    let near = number ^ (1 << bit);
                    assert!(near == other || !denies(near), "{rule}: {near:#x}");
                }
            }
        }
    }
    assert!(commands.len() > 150, "only {} commands", commands.len());
}

/// What C says that a constant means: of a bit's number, the bit.
fn meaning(name: &'static str) -> String {
    let numbers = [
        "KVM_FEATURE_",
        "KVM_HINTS_",
        "VHOST_BACKEND_F_",
        "VHOST_F_",
        "VHOST_NET_F_",
        "VHOST_VRING_F_",
        "VIRTIO_F_",
        "VIRTIO_NET_F_",
    ];
    match numbers.iter().any(|number| name.starts_with(number)) {
        true => format!("1ULL << {name}"),
        false => name.into(),
    }
}

#[test]
fn each_constant_has_the_value_that_c_gives_it() {
    let constants = schema::constants().iter();
    let names: Vec<String> = constants.map(|row| meaning(row.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = values(64, "constants", &names);
    for (constant, value) in schema::constants().iter().zip(values) {
        assert_eq!(constant.value, value, "{}", constant.name);
        let rule = format!("deny kvm * if arg == {}", constant.name);
        let policy = policy(&rule).unwrap_or_else(|(report, _)| panic!("{report}"));
        for (arg, expected) in [
            (value, true),
            (value ^ 1, false),
            (value ^ (1 << 63), false),
        ] {
            let request = Request {
                surface: Surface::Kvm,
                command: 1,
                arg,
                compat: false,
            };
            let head = policy.head(request.surface, request.command).unwrap();
            let decision = policy.decide(head, &request, Bytes::default(), |_| {});
            let denied = decision.unwrap().verdict != Verdict::Allow;
            assert_eq!(denied, expected, "{rule}: {arg:#x}");
        }
    }
    assert!(names.len() > 500, "only {} constants", names.len());
}
