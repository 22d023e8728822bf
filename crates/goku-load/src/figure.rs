//! Figures as people read them.

use std::time::Duration;

/// A whole number with its thousands set apart: `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds with about three digits: `0.052`, `1.23`, `12.3`, `1,234`.
pub fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..0.1 => format!("{millis:.3}"),
        ..10.0 => format!("{millis:.2}"),
        ..100.0 => format!("{millis:.1}"),
        _ => grouped(millis),
    }
}

/// Bytes in the greatest unit of which there is one, with about three digits: `12.3 MB`.
pub fn bytes(bytes: f64) -> String {
    let (amount, unit) = match bytes {
        ..1e3 => return format!("{bytes:.0} B"),
        ..1e6 => (bytes / 1e3, "kB"),
        ..1e9 => (bytes / 1e6, "MB"),
        _ => (bytes / 1e9, "GB"),
    };
    match amount {
        ..10.0 => format!("{amount:.2} {unit}"),
        ..100.0 => format!("{amount:.1} {unit}"),
        _ => format!("{amount:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [0.0, 999.4, 1000.0, 12_345.0, 1_234_567.0].map(grouped),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
        assert_eq!(
            [52, 512, 12_340, 123_400, 1_234_000].map(|micros| millis(Duration::from_micros(micros))),
            ["0.052", "0.51", "12.3", "123", "1,234"]
        );
        assert_eq!(
            [0.0, 999.0, 1_234.0, 12_340_000.0, 123e9].map(bytes),
            ["0 B", "999 B", "1.23 kB", "12.3 MB", "123 GB"]
        );
    }
}
