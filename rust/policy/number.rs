// SPDX-License-Identifier: GPL-2.0

//! Numbers: `4096`, `0x1000`, `4K`.

use crate::Kind;

/// The value of a word.
pub(crate) fn parse(word: &str) -> Result<u64, Kind> {
    let (value, suffix) = digits(word)?;
    let unit: u64 = match suffix {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(Kind::NotANumber),
    };
    value.checked_mul(unit).ok_or(Kind::NumberTooLarge)
}

/// The number of an ioctl: 32 bits, no suffix.
pub(crate) fn parse_command(word: &str) -> Result<u32, Kind> {
    match digits(word)? {
        (value, "") => u32::try_from(value).map_err(|_| Kind::CommandNumberTooLarge),
        _ => Err(Kind::NotACommandNumber),
    }
}

/// Whether a word is meant to be a number.
pub(crate) fn is_meant(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    word.starts_with(|first: char| first.is_ascii_digit())
}

/// The value of the digits, and what follows them.
fn digits(word: &str) -> Result<(u64, &str), Kind> {
    let (digits, radix) = match word.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    let end = digits
        .find(|digit: char| !digit.is_digit(radix))
        .unwrap_or(digits.len());
    let (digits, suffix) = digits.split_at_checked(end).ok_or(Kind::NotANumber)?;
    if word.starts_with('-') && is_meant(word) {
        return Err(Kind::Negative);
    }
    if digits.is_empty() {
        return Err(Kind::NotANumber);
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err(Kind::LeadingZero);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) => Ok((value, suffix)),
        // They are digits: there can only be too many.
        Err(_) => Err(Kind::NumberTooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (word, expected) in [
            ("0", Ok(0)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("0xffffffffffffffff", Ok(u64::MAX)),
            ("0x0", Ok(0)),
            ("64K", Ok(65536)),
            ("0x10K", Ok(16384)),
            ("3M", Ok(3 << 20)),
            ("64G", Ok(64 << 30)),
            ("16777215T", Ok(16777215 << 40)),
            ("16777216T", Err(Kind::NumberTooLarge)),
            ("18446744073709551616", Err(Kind::NumberTooLarge)),
            ("0x10000000000000000", Err(Kind::NumberTooLarge)),
            ("0x", Err(Kind::NotANumber)),
            ("0X10", Err(Kind::NotANumber)),
            ("64k", Err(Kind::NotANumber)),
            ("4KK", Err(Kind::NotANumber)),
            ("1_000", Err(Kind::NotANumber)),
            ("1.5", Err(Kind::NotANumber)),
            ("010", Err(Kind::LeadingZero)),
            ("00", Err(Kind::LeadingZero)),
            ("-1", Err(Kind::Negative)),
            ("-", Err(Kind::NotANumber)),
            ("", Err(Kind::NotANumber)),
        ] {
            assert_eq!(parse(word), expected, "{word}");
        }
    }

    #[test]
    fn command_numbers() {
        for (word, expected) in [
            ("0x4010ae42", Ok(0x4010_ae42)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(Kind::CommandNumberTooLarge)),
            ("4K", Err(Kind::NotACommandNumber)),
        ] {
            assert_eq!(parse_command(word), expected, "{word}");
        }
    }
}
