// SPDX-License-Identifier: GPL-2.0

//! What the kernel answered to one call, and what a test expects it to answer.

use std::{fmt, str::FromStr};

use crate::{errno, failure::Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok(i64),
    Errno(i32),
}

impl Answer {
    /// The answer in a system call's return register: -4095..=-1 are errnos.
    pub fn from_return(value: i64) -> Self {
        match value {
            -4095..=-1 => Answer::Errno(-value as i32),
            _ => Answer::Ok(value),
        }
    }

    /// The answer of a libc function that returned -1 just now.
    pub fn last_errno() -> Self {
        Answer::Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    pub fn kind(self) -> Kind {
        match self {
            Answer::Ok(_) => Kind::Ok,
            Answer::Errno(number) => Kind::Errno(number),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Ok(value) => write!(f, "ok {value}"),
            Answer::Errno(number) => write!(f, "errno {} ({number})", errno::name(*number)),
        }
    }
}

/// An answer without its value: `ok` or one errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ok,
    Errno(i32),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "ok" {
            return Ok(Kind::Ok);
        }
        errno::number(text)
            .map(Kind::Errno)
            .ok_or_else(|| format!("`{text}` is neither `ok` nor the name of an errno"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Ok => f.write_str("ok"),
            // One without a name must still be told apart from the next.
            Kind::Errno(number) if errno::number(errno::name(*number)).is_none() => {
                write!(f, "E{number}")
            }
            Kind::Errno(number) => f.write_str(errno::name(*number)),
        }
    }
}

/// `ok`, `ENAME`, `not:ok` or `not:ENAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    kind: Kind,
    negated: bool,
}

impl Expect {
    pub fn judge(self, answer: Answer) -> Result<(), Failure> {
        if (answer.kind() == self.kind) != self.negated {
            return Ok(());
        }
        Err(Failure::Unexpected(format!(
            "expected {self}, but the answer was {answer}"
        )))
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (negated, kind) = match text.strip_prefix("not:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Ok(Expect {
            kind: kind.parse()?,
            negated,
        })
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("anything but ")?;
        }
        self.kind.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_registers_are_split_where_linux_splits_them() {
        assert_eq!(Answer::from_return(0), Answer::Ok(0));
        assert_eq!(Answer::from_return(7), Answer::Ok(7));
        assert_eq!(Answer::from_return(-1), Answer::Errno(1));
        assert_eq!(Answer::from_return(-4095), Answer::Errno(4095));
        assert_eq!(Answer::from_return(-4096), Answer::Ok(-4096));
        assert_eq!(Answer::from_return(i64::MIN), Answer::Ok(i64::MIN));
    }

    #[test]
    fn answers_are_written_in_one_way() {
        assert_eq!(Answer::Ok(12).to_string(), "ok 12");
        assert_eq!(Answer::Errno(1).to_string(), "errno EPERM (1)");
        assert_eq!(Kind::Errno(515).to_string(), "E515");
    }

    #[test]
    fn expectations() {
        let cases = [
            ("ok", Answer::Ok(3), true),
            ("ok", Answer::Errno(1), false),
            ("EPERM", Answer::Errno(1), true),
            ("EPERM", Answer::Errno(22), false),
            ("EPERM", Answer::Ok(0), false),
            ("not:EPERM", Answer::Errno(22), true),
            ("not:EPERM", Answer::Ok(0), true),
            ("not:EPERM", Answer::Errno(1), false),
            ("not:ok", Answer::Ok(0), false),
        ];
        for (text, answer, met) in cases {
            let expect: Expect = text.parse().unwrap();
            assert_eq!(expect.judge(answer).is_ok(), met, "{text} against {answer}");
        }
        assert!("EBOGUS".parse::<Expect>().is_err());
        assert!("not:".parse::<Expect>().is_err());
    }
}
