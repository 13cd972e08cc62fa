//! Quantities as numbers: `250m`, `1.5Gi`, `1e3`. Left out: keeping the notation.

/// Thousandths of a quantity, rounded up; `None` if it is not one. Saturates far beyond any machine.
pub(crate) fn milli(text: &str) -> Option<i64> {
    scaled(text, 1000)
}

/// A quantity in whole units, rounded up; `None` if it is not one.
pub(crate) fn whole(text: &str) -> Option<i64> {
    scaled(text, 1)
}

fn scaled(text: &str, scale: i128) -> Option<i64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator) = suffix_factor(suffix)?;
    let (digits, decimals) = decimal(number)?;
    let over = denominator.checked_mul(10_i128.checked_pow(decimals)?)?;
    let value = digits.checked_mul(numerator)?.checked_mul(scale)?;
    let rounded = value.div_euclid(over) + i128::from(value.rem_euclid(over) != 0);
    Some(rounded.clamp(i64::MIN as i128, i64::MAX as i128) as i64)
}

/// The digits of a decimal number without its point, and how many stood behind it.
fn decimal(number: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(9)];
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, fraction.len() as u32))
}

/// The factor of a suffix as a fraction.
fn suffix_factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => exponent(suffix),
    }
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_i128.checked_pow(power.unsigned_abs().min(18))?;
    Some(if power < 0 { (1, factor) } else { (factor, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations() {
        for (text, expected) in [
            ("1", 1000),
            ("250m", 250),
            ("1.5", 1500),
            ("0.1", 100),
            ("100u", 1),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("", i64::MIN),
            ("1x", i64::MIN),
        ] {
            assert_eq!(milli(text).unwrap_or(i64::MIN), expected, "{text:?}");
        }
        for (text, expected) in [
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("128974848", 128_974_848),
            ("1500m", 2),
        ] {
            assert_eq!(whole(text), Some(expected), "{text:?}");
        }
    }
}
