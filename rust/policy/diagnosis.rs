// SPDX-License-Identifier: GPL-2.0

//! Mistakes as values: where, and which kind. [`crate::message`] turns them into text.

use core::cmp::Ordering;

use crate::schema::{Command, Field};
use crate::state::Scope;
use crate::{limits, sort, By, Grow, OutOfMemory, Quantity, Span, Storage, Surface};

/// Why a text is no policy.
pub enum Rejection<S: Storage> {
    /// There was no memory to find out.
    OutOfMemory,
    /// It has mistakes.
    Mistakes(Diagnoses<S>),
}

impl<S: Storage> From<OutOfMemory> for Rejection<S> {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The mistakes of a text in the order of its lines, one a line; at least one.
pub struct Diagnoses<S: Storage> {
    /// The first [`limits::DIAGNOSES`] of them.
    pub list: S::List<Diagnosis>,
    /// How many more lines have one.
    pub more: u32,
}

impl<S: Grow> Diagnoses<S> {
    pub(crate) fn none() -> Self {
        Self {
            list: S::empty(),
            more: 0,
        }
    }

    /// Notes a mistake, unless its line has one already.
    pub(crate) fn note(&mut self, text: &[u8], mistake: Mistake) -> Result<(), OutOfMemory> {
        if self.list.len() >= limits::DIAGNOSES {
            self.more = self.more.saturating_add(1);
            return Ok(());
        }
        let diagnosis = Diagnosis::new(text, mistake);
        // The last one first: what a profile lacks is seen at its end, and told at its name.
        let mut lines = self.list.iter().rev().map(|other| other.line);
        if lines.any(|line| line == diagnosis.line) {
            return Ok(());
        }
        S::push(&mut self.list, diagnosis)
    }

    /// Puts them in the order of their places.
    pub(crate) fn sort(&mut self) {
        sort::sort(S::items(&mut self.list));
    }
}

impl PartialOrd for Diagnosis {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Diagnosis {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.line, self.column).cmp(&(other.line, other.column))
    }
}

/// One mistake, or what is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1: characters of Unicode; a tab is one.
    pub column: u32,
    /// What of the text is meant, in bytes; empty at the end of a line.
    pub at: Span,
    /// What is wrong with it.
    pub kind: Kind,
}

impl Diagnosis {
    fn new(text: &[u8], Mistake { at, kind }: Mistake) -> Self {
        let before = Span {
            start: 0,
            len: at.start,
        }
        .of(text)
        .unwrap_or(text);
        let lines = before.iter().filter(|&&byte| byte == b'\n').count();
        let line_start = before.iter().rposition(|&byte| byte == b'\n');
        let line = before
            .get(line_start.map_or(0, |at| at + 1)..)
            .unwrap_or_default();
        // Every character of UTF-8 has one byte that does not continue another.
        let characters = line.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Self {
            line: crate::span::saturated(lines + 1),
            column: crate::span::saturated(characters + 1),
            at,
            kind,
        }
    }
}

/// A mistake whose line and column nobody has counted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mistake {
    pub(crate) at: Span,
    pub(crate) kind: Kind,
}

impl Mistake {
    pub(crate) fn new(at: Span, kind: Kind) -> Self {
        Self { at, kind }
    }
}

/// Why a statement was left half-read.
pub(crate) enum Fault {
    Mistake(Mistake),
    OutOfMemory,
}

impl From<OutOfMemory> for Fault {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

/// What is wrong: one variant a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    // The bytes.
    /// More than [`limits::TEXT_BYTES`].
    TextTooLong {
        /// How many there are.
        bytes: usize,
    },
    /// A byte that is no UTF-8.
    NotUtf8,
    /// A byte of value 0.
    Nul,
    /// Lines that end as on Windows.
    CarriageReturn,
    /// U+FEFF as the first character.
    ByteOrderMark,
    /// A control character.
    ControlCharacter,
    /// A character that hides or reorders others.
    InvisibleCharacter,

    // The frame.
    /// No statement at all.
    Empty,
    /// No `end`.
    CutOff,
    /// A last line without a line feed.
    CutOffInLine,
    /// `end` without a line feed.
    EndUnclosed,
    /// Something behind `end`.
    AfterEnd,
    /// The first statement is not `policy`.
    PolicyFirst,
    /// A second `policy`.
    PolicyAgain {
        /// The line of the first.
        line: u32,
    },
    /// A name with a character that has no place there.
    NameCharacter,
    /// A name of more than [`limits::NAME_BYTES`].
    NameTooLong,
    /// A version with a character that has no place there.
    VersionCharacter,
    /// A version of more than [`limits::VERSION_BYTES`].
    VersionTooLong,
    /// No `profile other`.
    ProfileMissing,
    /// Profiles, and none of them is `other`.
    OtherMissing,
    /// A second profile of the same name.
    ProfileAgain {
        /// The line of the first.
        line: u32,
    },
    /// A profile behind `other`.
    ProfileBehindOther {
        /// The line of `other`.
        line: u32,
    },
    /// More than [`limits::PROFILES`].
    TooManyProfiles,
    /// A rule or default before the profile.
    OutsideProfile,
    /// A profile without a default.
    DefaultMissing,
    /// A profile other than `other` without a `match`.
    MatchMissing,
    /// A `match` in `other`.
    MatchInOther,
    /// A `match` behind a rule or a default.
    MatchBehindRules,
    /// A second `match` of the same kind.
    MatchAgain {
        /// The line of the first.
        line: u32,
    },
    /// A word behind `match` that it cannot look at.
    UnknownBy,
    /// More than [`limits::MATCH_VALUES`].
    TooManyValues,
    /// A path that does not begin with `/`.
    PathNotWhole {
        /// Whose it is.
        by: By,
    },
    /// A path that ends with `/`.
    PathOfFolder,
    /// A path with `//`, `/./` or `/../` in it.
    PathWithSteps,
    /// A pattern of more than [`limits::PATTERN_BYTES`].
    PatternTooLong,
    /// `""`
    PatternEmpty,
    /// `***`
    ThreeStars,
    /// A name that is longer than what the kernel keeps.
    CommTooLong,
    /// A user or a group by its name.
    IdByName {
        /// Which of both.
        by: By,
    },
    /// A user or a group of more than 32 bits.
    IdTooLarge,
    /// A second default.
    DefaultAgain {
        /// The line of the first.
        line: u32,
    },
    /// `default audit`.
    DefaultAudit,
    /// A word that is kept for a later version.
    Reserved,
    /// A first word that is no statement.
    UnknownStatement,
    /// More than [`limits::RULES`].
    TooManyRules,
    /// More than [`limits::LINKS`].
    TooManyLinks,
    /// Something else should stand here.
    Expected(Expected),

    // What a rule is about.
    /// Neither a surface nor a command.
    UnknownTarget,
    /// No such command.
    UnknownCommand {
        /// The surface in front of it.
        surface: Option<Surface>,
    },
    /// A command of other surfaces.
    NotOnSurface {
        /// The surface in front of it.
        surface: Surface,
    },
    /// A number that a file of one surface answers, and that is judged as another's.
    JudgedAs {
        /// The surface in front of it.
        surface: Surface,
        /// Its own.
        judged_as: Surface,
    },
    /// A command of other architectures.
    OtherArchitecture,
    /// A number or `*` without a surface.
    NeedsSurface,
    /// `*` and something else.
    StarNotAlone,
    /// Two surfaces in one rule.
    SecondSurface,
    /// Two commands without a comma.
    MissingComma,
    /// The number of a command is no number.
    NotACommandNumber,
    /// The number of a command has more than 32 bits.
    CommandNumberTooLarge,

    // What follows.
    /// `while`, `if`, `errno` or `reason` twice.
    PartAgain,
    /// `while`, `if`, `errno` and `reason` in another order.
    PartOrder,
    /// `errno` where nothing is denied.
    ErrnoNotOnDeny,
    /// No such error.
    UnknownErrno,
    /// An error by its number.
    ErrnoNumber,
    /// A text without its second quote.
    UnclosedQuote,
    /// A reason without text.
    ReasonEmpty,
    /// A reason of more than [`limits::REASON_BYTES`].
    ReasonTooLong,

    // The state of the VM.
    /// `while` for calls that belong to no VM.
    NoPhase {
        /// What they are on.
        surface: Surface,
        /// Whether the rule speaks about this surface alone.
        alone: bool,
    },
    /// A part of the state that the calls do not have.
    NotThere {
        /// Which calls have it.
        scope: Scope,
        /// What those are on that do not.
        surface: Surface,
        /// Whether the rule speaks about this surface alone.
        alone: bool,
    },
    /// `vm.slot` for calls that set no memory slot.
    NoSlot,
    /// No such part of the state.
    UnknownState,
    /// No such command or variant to have been done.
    UnknownDid,
    /// A command that is on no VM.
    DidElsewhere,
    /// `vm.did(KVM_RUN)`.
    DidRun,
    /// More than [`limits::DIDS`].
    TooManyDids,
    /// No such capability.
    UnknownCapability,
    /// An operator that says nothing about what is so or not.
    FlagOperator,
    /// Something that is so or not, without an operator.
    FlagAlone,
    /// What is so or not is 1 or 0.
    FlagValue,
    /// An operator that says nothing about words.
    WordOperator,
    /// None of a few words.
    UnknownWord {
        /// Those.
        words: &'static [&'static str],
    },

    // Limits.
    /// Neither something that can be counted nor a command.
    UnknownLimit,
    /// A second limit of the same.
    LimitAgain {
        /// The line of the first.
        line: u32,
    },
    /// A limit of 0.
    LimitOfNothing,
    /// A limit that nothing can reach.
    LimitTooLarge,
    /// `per profile` of what is not summed up.
    NotPerProfile {
        /// What.
        quantity: Quantity,
    },
    /// A rate of what is not called.
    RateOfQuantity {
        /// What.
        quantity: Quantity,
    },
    /// A rate in no time that there is.
    RateUnit,
    /// `per profile` behind a rate.
    RatePerProfile,
    /// More than [`limits::RATES`].
    TooManyRates,
    /// `while` or `if` in a limit.
    LimitWithCondition,

    // Conditions.
    /// A field that the command's argument does not have.
    UnknownField {
        /// The command.
        command: &'static Command,
    },
    /// A field that the elements of the array do not have.
    UnknownElementField {
        /// Those that they have.
        fields: &'static [Field],
    },
    /// A field of a command whose argument is no struct.
    NoFields {
        /// The command.
        command: &'static Command,
    },
    /// A field where no command says which fields there are.
    FieldWithoutCommand,
    /// A field of a struct that the kernel only writes.
    WrittenOnly,
    /// An array where a number should be.
    ArrayAlone {
        /// Whether its elements can be named by their index.
        has_index: bool,
    },
    /// An array that is a part of another array's element.
    ArrayInElement,
    /// Something else where an array should be.
    NotAnArray,
    /// `count` of an array that has always as many elements.
    CountIsFixed {
        /// How many.
        count: u32,
    },
    /// `[0]` where nobody knows how many elements there are.
    IndexOfFlexible,
    /// An index beyond the end of an array.
    IndexTooLarge {
        /// How many elements there are.
        count: u32,
    },
    /// `any`, `all` or `no` within parentheses.
    QuantifierInside,
    /// No such constant.
    UnknownConstant {
        /// Those that belong to the field.
        constants: &'static [u16],
    },
    /// A value that the field cannot have.
    ValueTooWide {
        /// The bytes of the field.
        width: u8,
        /// Whether it may be negative.
        signed: bool,
    },
    /// Bits of a field that may be negative.
    BitsOfSigned,
    /// Bits of a number of elements.
    BitsOfCount,
    /// Bits of a sum.
    BitsOfSum,
    /// A number that may be negative as a part of a sum.
    SumOfSigned,
    /// More than [`limits::TERMS`].
    TooManyTerms,
    /// A sum behind the operator.
    SumOnTheRight,
    /// A number in front of the operator.
    NumberAlone,
    /// Parentheses that belong to nothing.
    ParenthesisAlone,
    /// More than [`limits::POLICY_CONDITIONS`] or [`limits::POLICY_SET_VALUES`].
    PolicyTooLarge,
    /// `or`.
    Or,
    /// No such operator.
    UnknownOperator,
    /// `=`.
    SingleEquals,
    /// An operator that says nothing about `compat`.
    CompatOperator,
    /// `compat` is 0 or 1.
    CompatValue,
    /// Digits with something else among them.
    NotANumber,
    /// A decimal number that looks like an octal one.
    LeadingZero,
    /// A negative number.
    Negative,
    /// More than 64 bits.
    NumberTooLarge,
    /// A range without braces.
    RangeOutsideSet,
    /// A range whose end comes before its beginning.
    RangeUpsideDown,
    /// A set without values.
    SetEmpty,
    /// A set of more than [`limits::SET_VALUES`].
    SetTooLong,
    /// `aligned` to something that is no power of two.
    NotPowerOfTwo {
        /// What it is.
        value: u64,
    },
    /// A condition that every value fulfils.
    AlwaysTrue,
    /// A condition that no value fulfils.
    NeverTrue,
    /// More than [`limits::CONDITIONS`].
    TooManyConditions,

    // What is allowed and probably not meant.
    /// A rule that no call reaches.
    Unreachable {
        /// The line of the rule that decides about all its calls.
        line: u32,
    },
    /// A limit of calls that are denied anyway.
    LimitOfDenied,
    /// A constant that belongs to other fields.
    ConstantOfOther {
        /// Those that belong to this one.
        constants: &'static [u16],
    },
    /// `==` with several bits.
    EqualToBits,
    /// A profile for whoever calls itself so.
    OnlyComm,
}

impl Kind {
    /// Whether nothing that follows can be judged.
    pub(crate) fn is_last(self) -> bool {
        matches!(
            self,
            Self::AfterEnd
                | Self::TooManyProfiles
                | Self::TooManyRules
                | Self::TooManyLinks
                | Self::PolicyTooLarge
        )
    }

    /// Whether a policy with it is taken all the same.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::LimitOfDenied
                | Self::ConstantOfOther { .. }
                | Self::EqualToBits
                | Self::OnlyComm
        )
    }
}

/// What should stand where something else stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The name of the policy.
    Name,
    /// The word `version`.
    VersionWord,
    /// The version of the policy.
    Version,
    /// The name of a profile.
    ProfileName,
    /// What `match` looks at.
    By,
    /// The path of a program.
    Exe,
    /// The path of a control group.
    Cgroup,
    /// What a process calls itself.
    Comm,
    /// The label of a process.
    Label,
    /// The number of a user or a group.
    Id,
    /// Another value or nothing.
    AfterMatchValue,
    /// The word of a phase.
    Phase,
    /// Whatever follows a phase.
    AfterPhase,
    /// `(` and a capability.
    Capability,
    /// A capability.
    CapabilityName,
    /// `(` and a command.
    Did,
    /// A command or a variant of one.
    DidName,
    /// What is limited.
    Limited,
    /// How much there may be.
    Count,
    /// How often something may be called.
    Rate,
    /// The word `profile`.
    Profile,
    /// Whatever follows a limit.
    AfterLimit,
    /// What a default does.
    DefaultAction,
    /// Nothing.
    LineEnd,
    /// `errno` or nothing.
    DefaultPart,
    /// A surface or a command.
    Target,
    /// A command.
    Command,
    /// Whatever follows a command.
    AfterCommand,
    /// Whatever follows a condition.
    AfterCondition,
    /// Whatever follows an errno.
    AfterErrno,
    /// A field.
    Field,
    /// An operator.
    Operator,
    /// A number.
    Value,
    /// `(`
    OpenParenthesis,
    /// `and` or `)`
    AndOrParenthesis,
    /// `)`
    CloseParenthesis,
    /// The index of an element.
    Index,
    /// `]`
    CloseBracket,
    /// `{`
    OpenBrace,
    /// `,` or `}`
    CommaOrBrace,
    /// The name of an error.
    Errno,
    /// Text in quotes.
    Quoted,
}
