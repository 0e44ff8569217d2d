// SPDX-License-Identifier: GPL-2.0

//! The copy that a handler gets, for every command whose argument is read: all of what the handler may
//! look at, in its own place, and no more than there was.

use portcullis_policy::schema::{
    self, Argument, At, Command, Direction, FieldKind, Len, Place, Struct,
};
use portcullis_policy::{parse, Buffer, Fetched, Heap, InList, Memory, Request, Surface, PADDING};

/// Where the argument is, where what a pointer in it leads to is, and where the handler's copy is.
const ADDRESS: u64 = 0x7f00_0000_0000;
const BEHIND: u64 = 0x7f10_0000_0000;
const BASE: u64 = 0;

/// Bytes at two places; what lies beyond cannot be read.
struct Caller {
    argument: Vec<u8>,
    behind: Vec<u8>,
}

impl Memory for Caller {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        self.read_some(address, into) == into.len()
    }

    fn read_some(&mut self, address: u64, into: &mut [u8]) -> usize {
        let (start, bytes) = match address {
            BEHIND.. => (BEHIND, &self.behind),
            _ => (ADDRESS, &self.argument),
        };
        let from = usize::try_from(address - start).unwrap().min(bytes.len());
        let len = into.len().min(bytes.len() - from);
        into[..len].copy_from_slice(&bytes[from..from + len]);
        len
    }
}

/// Every command whose argument is read, with a surface that has it.
fn commands() -> impl Iterator<Item = (&'static Command, Surface, &'static Struct)> {
    schema::commands().iter().filter_map(|command| {
        let Argument::Struct(found) = command.argument else {
            return None;
        };
        let surface = command.surfaces().next()?;
        (found.direction != Direction::Out).then_some((command, surface, found))
    })
}

/// A member that a rule can look at, of those that are there in both layouts.
fn plain_field(argument: &Struct) -> Option<&'static str> {
    let is_plain = |kind| matches!(kind, FieldKind::Value { .. });
    let mut fields = argument.fields.iter();
    fields
        .find(|field| is_plain(field.kind))
        .map(|field| field.name)
}

fn put(bytes: &mut [u8], place: Place, value: u64) {
    let width = usize::from(place.width);
    bytes[place.offset as usize..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// What a handler finds.
struct Copied {
    buffer: Vec<u8>,
    /// Where the argument is in it.
    start: usize,
    stop: usize,
    /// Where what a pointer leads to is in it, and its length.
    followed: Option<(usize, usize)>,
}

/// What the handler finds of a call; `None` if it is refused because it cannot be read.
fn copy(command: &Command, surface: Surface, rule: &str, caller: &mut Caller) -> Option<Copied> {
    let text = format!("policy whole version 1\nprofile other\n default allow\n {rule}\nend\n");
    let policy = parse::<Heap>(text.as_bytes()).unwrap_or_else(|_| panic!("{rule}"));
    let request = Request {
        surface,
        command: command.number,
        arg: ADDRESS,
        compat: false,
    };
    let head = policy.head(surface, command.number).unwrap();
    let whole = policy.reads(head, false).unwrap().whole;
    assert_eq!(
        whole.written,
        matches!(command.argument, Argument::Struct(found) if found.direction == Direction::InOut)
    );
    // As the module does it.
    let mut fetched = Fetched::nothing(InList::<Heap>::new());
    fetched.read_ahead(policy.reads(head, false).unwrap().ahead(), ADDRESS, caller);
    while let Some(piece) = policy.wants(head, &request, &fetched).ok()? {
        fetched.take(piece, caller).ok()?;
    }
    let reads = policy.reads(head, false).unwrap();
    let judged = looked_at(&fetched, reads.argument as usize);
    fetched.read_rest(&whole, ADDRESS, caller).unwrap();
    let judged_now = looked_at(&fetched, reads.argument as usize);
    assert_eq!(judged, judged_now, "{rule}");
    let (buffer, complete) = fetched.complete(&whole, ADDRESS, caller).unwrap();
    assert_eq!(complete.argument.address, ADDRESS);
    let range = complete.argument.range;
    let bytes = buffer.bytes().to_vec();
    let followed = complete.followed.map(|part| {
        assert_eq!(part.address, BEHIND);
        (part.range.start, part.range.len())
    });
    Some(Copied {
        buffer: bytes,
        start: range.start,
        stop: range.end,
        followed,
    })
}

/// What the rules look at; all of it has its padding.
fn looked_at(fetched: &Fetched<InList<Heap>>, argument: usize) -> [Vec<u8>; 3] {
    let bytes = fetched.bytes();
    assert!(bytes.argument.len() >= argument + PADDING);
    let [tail, followed] = [bytes.tail, bytes.followed]
        .map(|part| part[..part.len().saturating_sub(PADDING)].to_vec());
    [bytes.argument[..argument].to_vec(), tail, followed]
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..len).map(next).collect()
}

/// An argument with three elements where it can have any, and its size told where it is; how many of
/// its bytes the handler may look at.
fn argument(found: &Struct, seed: u64) -> (Vec<u8>, usize) {
    let mut bytes = noise(1 << 17, seed);
    let mut end = found.size as usize;
    for field in found.fields {
        if let FieldKind::Array(array) = field.kind {
            let elements = (array.stride * 3) as usize;
            match array.len {
                Len::Counted { count, .. } => put(&mut bytes, count, 3),
                Len::Rest { .. } => {}
                Len::Fixed(_) => continue,
            }
            end = end.max(field.offset as usize + elements);
        }
    }
    for variant in found.variants {
        if let At::Inline(offset) = variant.at {
            end = end.max((offset + variant.size) as usize);
        }
    }
    if let Some(place) = found.sized_by {
        end += 5;
        put(&mut bytes, place, end as u64);
    }
    (bytes, end)
}

#[test]
fn a_handler_finds_all_that_it_may_look_at() {
    let mut tried = 0;
    for (seed, (command, surface, found)) in commands().enumerate() {
        let Some(field) = plain_field(found) else {
            // A KVM_SET_XSAVE has nothing but arrays.
            continue;
        };
        let rule = format!("audit {} {} if {field} == 0", surface.name(), command.name);
        let (bytes, end) = argument(found, seed as u64);
        let mut caller = Caller {
            argument: bytes.clone(),
            behind: Vec::new(),
        };
        let Copied {
            buffer,
            start,
            stop,
            ..
        } = copy(command, surface, &rule, &mut caller).unwrap();
        assert_eq!(start, 0, "{}", command.name);
        assert!(stop >= end, "{}: {stop} bytes, not {end}", command.name);
        assert_eq!(buffer[..stop], bytes[..stop], "{}", command.name);
        tried += 1;
    }
    assert!(tried > 140, "{tried}");
}

#[test]
fn where_the_caller_s_memory_ends_the_copy_ends() {
    for (seed, (command, surface, found)) in commands().enumerate() {
        let Some(field) = plain_field(found) else {
            continue;
        };
        let rule = format!("audit {} {} if {field} == 0", surface.name(), command.name);
        let (bytes, end) = argument(found, seed as u64);
        let mut all = Caller {
            argument: bytes.clone(),
            behind: Vec::new(),
        };
        let whole = copy(command, surface, &rule, &mut all).unwrap().stop;
        for cut in [1, 4, 8, end / 2, end - 1] {
            let mut caller = Caller {
                argument: bytes[..cut].to_vec(),
                behind: Vec::new(),
            };
            // What the rule looks at may not be there: then the call is refused.
            let Some(Copied {
                buffer,
                start,
                stop,
                ..
            }) = copy(command, surface, &rule, &mut caller)
            else {
                continue;
            };
            let name = command.name;
            let len = cut.min(whole);
            assert_eq!(stop - start, len, "{name} with {cut} bytes");
            assert_eq!(buffer[start..stop], bytes[..len], "{name} with {cut} bytes");
            let last = if cut < whole { buffer.len() } else { len };
            assert_eq!(stop, last, "{name} with {cut} bytes");
        }
    }
}

#[test]
fn a_pointer_leads_to_the_copy_of_what_it_led_to() {
    let mut tried = 0;
    for (seed, (command, surface, found)) in commands().enumerate() {
        for variant in found.variants {
            let At::Pointer(offset) = variant.at else {
                continue;
            };
            let Some(inner) = variant
                .fields
                .iter()
                .find(|field| matches!(field.kind, FieldKind::Value { .. }))
            else {
                continue;
            };
            let rule = format!(
                "audit {} {} if {}.{} == 0",
                surface.name(),
                command.name,
                variant.name,
                inner.name
            );
            let (mut bytes, _) = argument(found, seed as u64);
            let place = Place { offset, width: 8 };
            put(&mut bytes, variant.selector.place, variant.selector.value);
            put(&mut bytes, place, BEHIND);
            let behind = noise(4096, !(seed as u64));
            for there in [bytes.len(), found.size as usize] {
                let mut caller = Caller {
                    argument: bytes[..there].to_vec(),
                    behind: behind.clone(),
                };
                let Copied {
                    buffer,
                    start,
                    stop,
                    followed,
                } = copy(command, surface, &rule, &mut caller).unwrap();
                let (at, len) = followed.unwrap();
                assert!(len >= variant.size as usize);
                assert_eq!(buffer[at..at + len], behind[..len], "{}", variant.name);
                let mut expected = bytes[..stop - start].to_vec();
                put(&mut expected, place, BASE + at as u64);
                assert_eq!(buffer[start..stop], expected, "{}", variant.name);
                assert!(at + len <= start || stop <= at, "{}", variant.name);
            }
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}
