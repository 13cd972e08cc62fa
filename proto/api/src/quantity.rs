//! Quantities: fixed-point numbers with a decimal (`m`, `k`, `M`), binary (`Ki`, `Mi`) or exponent (`e3`) suffix.
//!
//! Held as nano-units in an `i128`, which covers what Kubernetes accepts (nanos up to 2^63-1); finer fractions round
//! away from zero and larger numbers saturate, as upstream does. Arithmetic keeps the format of the left operand.

use crate::error::QuantityError;
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

const NANO: i128 = 1_000_000_000;
/// The largest absolute amount, in units.
const UNITS_MAX: i128 = i64::MAX as i128;

/// How a quantity was written, and will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `500m`, `2k`.
    #[default]
    DecimalSi,
    /// `64Mi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// An amount of something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    /// |nanos| <= UNITS_MAX * NANO.
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// Whole units, written decimally.
    pub fn units(units: i64) -> Quantity {
        Quantity {
            nanos: i128::from(units) * NANO,
            format: Format::DecimalSi,
        }
    }

    /// Thousandths, written decimally.
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity {
            nanos: i128::from(milli) * (NANO / 1000),
            format: Format::DecimalSi,
        }
    }

    /// Whole units (bytes), written with binary suffixes.
    pub fn bytes(bytes: i64) -> Quantity {
        Quantity {
            nanos: i128::from(bytes) * NANO,
            format: Format::BinarySi,
        }
    }

    /// Reads `1`, `0.5`, `100m`, `64Mi`, `1e3`.
    pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let split = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(split);
        let (scale, format) = Scale::parse(suffix)?;
        let nanos = scale.apply(number)?.min(UNITS_MAX * NANO);
        Ok(Quantity {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }

    /// From a JSON text or number; `None` when it is neither or malformed.
    pub fn from_value(value: &Value) -> Option<Quantity> {
        match value {
            Value::String(text) => Quantity::parse(text).ok(),
            Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
            _ => None,
        }
    }

    /// Whole units, rounded up.
    pub fn value(&self) -> i64 {
        ceil(self.nanos, NANO)
    }

    /// Thousandths, rounded up.
    pub fn milli(&self) -> i64 {
        ceil(self.nanos, NANO / 1000)
    }

    /// True for nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.nanos.signum() as i32
    }

    fn with_nanos(self, nanos: i128) -> Quantity {
        Quantity {
            nanos: nanos.clamp(-UNITS_MAX * NANO, UNITS_MAX * NANO),
            format: self.format,
        }
    }
}

/// Rounds away from zero, and saturates.
fn ceil(nanos: i128, unit: i128) -> i64 {
    let (whole, rest) = (nanos / unit, nanos % unit);
    let rounded = if rest == 0 { whole } else { whole + nanos.signum() };
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[derive(Clone, Copy)]
enum Scale {
    /// 10^n
    Ten(i32),
    /// 2^n
    Two(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Result<(Scale, Format), QuantityError> {
        let decimal = |power| Ok((Scale::Ten(power), Format::DecimalSi));
        let binary = |power| Ok((Scale::Two(power), Format::BinarySi));
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(10),
            "Mi" => binary(20),
            "Gi" => binary(30),
            "Ti" => binary(40),
            "Pi" => binary(50),
            "Ei" => binary(60),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
                let power: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
                Ok((Scale::Ten(power.clamp(-100, 100)), Format::DecimalExponent))
            }
        }
    }

    /// The number times the scale, in nanos, rounded up; saturates.
    fn apply(self, number: &str) -> Result<i128, QuantityError> {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        let mut digits: Vec<u8> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|digit| digit - b'0')
            .collect();
        let mut power = 9 - fraction.len() as i64;
        if let Scale::Ten(scale) = self {
            power += i64::from(scale);
        }
        // Digits that a right shift would drop only matter for rounding up.
        let mut inexact = false;
        while power < 0 && !digits.is_empty() {
            inexact |= digits.pop() != Some(0);
            power += 1;
        }
        let fold = |total: i128, digit: u8| total.saturating_mul(10).saturating_add(i128::from(digit));
        let mut nanos = digits.into_iter().fold(0i128, fold);
        for _ in 0..power.clamp(0, 128) {
            nanos = nanos.saturating_mul(10);
        }
        if let Scale::Two(bits) = self {
            nanos = nanos.saturating_mul(1i128 << bits);
        }
        Ok(nanos.saturating_add(i128::from(inexact)))
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number, binary only from 1024 on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let binary = self.format == Format::BinarySi && self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO;
        if binary {
            self.write_binary(f)
        } else {
            self.write_decimal(f)
        }
    }
}

impl Quantity {
    fn write_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = self.nanos / NANO;
        let mut index = 0;
        while units % 1024 == 0 && index < 6 {
            units /= 1024;
            index += 1;
        }
        write!(f, "{units}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][index])
    }

    fn write_decimal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.nanos;
        let mut index = 0;
        while number % 1000 == 0 && index < 9 {
            number /= 1000;
            index += 1;
        }
        match (self.format, index) {
            (Format::DecimalExponent, 3) => write!(f, "{number}"),
            (Format::DecimalExponent, _) => write!(f, "{number}e{}", index as i32 * 3 - 9),
            _ => write!(
                f,
                "{number}{}",
                ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index]
            ),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        let format = if self.nanos == 0 { other } else { self };
        format.with_nanos(self.nanos + other.nanos)
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        let format = if self.nanos == 0 { other } else { self };
        format.with_nanos(self.nanos - other.nanos)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        for (written, canonical_form) in [
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100Ki", "100Ki"),
            ("1000", "1k"),
            ("1000k", "1M"),
            ("0", "0"),
            ("0Mi", "0"),
            ("512Ki", "512Ki"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("-200m", "-200m"),
            ("+5", "5"),
            (".5", "500m"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("100", "100"),
            ("128974848", "128974848"),
            ("1Ei", "1Ei"),
        ] {
            assert_eq!(canonical(written), canonical_form, "{written}");
        }
    }

    #[test]
    fn malformed_quantities_are_refused() {
        for text in ["", "m", ".", "1.2.3", "1x", "1KI", "--1", "1 Gi", "e3", "1e"] {
            assert!(Quantity::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_and_rounding() {
        let half = Quantity::parse("500m").unwrap();
        assert_eq!((half + half).to_string(), "1");
        assert_eq!(half.value(), 1);
        assert_eq!(half.milli(), 500);
        assert_eq!(
            (Quantity::bytes(1 << 30) - Quantity::bytes(1 << 20)).to_string(),
            "1023Mi"
        );
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
        assert_eq!(Quantity::parse("99E").unwrap().value(), i64::MAX);
    }
}
