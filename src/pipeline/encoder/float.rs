//! Floats as Python's `repr` shows them: the shortest digits that read back as the same number.
//!
//! Python writes an exponent when the decimal point would stand more than 16 places right or 3 places left of the
//! first digit, always with a sign and at least two digits. `ryu` finds the same digits but draws these lines
//! elsewhere, so its text is rearranged.

/// Room for the longest text, `-2.2250738585072014e-308`.
const MAX_LEN: usize = 24;

/// Holds a formatted float, so that formatting needs no allocation.
#[derive(Default)]
pub(super) struct FloatText {
    ryu: ryu::Buffer,
    text: [u8; MAX_LEN],
    len: usize,
}

impl FloatText {
    /// What Python's `repr(f)` is.
    pub(super) fn format(&mut self, f: f64) -> &str {
        if f.is_nan() {
            return "nan";
        }
        if f.is_infinite() {
            return if f > 0.0 { "inf" } else { "-inf" };
        }
        self.len = 0;
        let text = self.ryu.format_finite(f);
        let (sign, digits) = text.split_at(usize::from(f.is_sign_negative()));
        // The two cases that differ: exponents, and 1e-5 <= |f| < 1e-4, which ryu writes as 0.0000….
        let (whole, fraction, exponent) = if let Some((mantissa, exponent)) = digits.split_once('e') {
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            (whole, fraction, exponent)
        } else if let Some(digits) = digits.strip_prefix("0.0000")
            && let Some((whole, fraction)) = digits.split_at_checked(1)
        {
            (whole, fraction, "-5")
        } else {
            return text;
        };
        let (exponent_sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        let pad = if exponent.len() < 2 { "0" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        for part in [sign, whole, point, fraction, "e", exponent_sign, pad, exponent] {
            let end = self.len + part.len();
            self.text[self.len..end].copy_from_slice(part.as_bytes());
            self.len = end;
        }
        // The parts are ASCII; an empty text could only come from a bug above.
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_cpython_prints_them() {
        // Left: a Rust literal; right: what CPython 3.12 answers to `repr`.
        let table = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.3333333333333333"),
            (std::f64::consts::PI, "3.141592653589793"),
            (123_456_789.0, "123456789.0"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_992.0, "9007199254740992.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (1e23, "1e+23"),
            (618_970_019_642_690_137_449_562_112.0, "6.189700196426902e+26"),
            (1e100, "1e+100"),
            (-1.5e300, "-1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e-3, "0.001"),
            (1e-4, "0.0001"),
            (0.000_123_45, "0.00012345"),
            (9.999e-5, "9.999e-05"),
            (1e-5, "1e-05"),
            (-1.2345e-5, "-1.2345e-05"),
            (1e-6, "1e-06"),
            (1e-10, "1e-10"),
            (5.684_341_886_080_802e-14, "5.684341886080802e-14"),
            (1e-100, "1e-100"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            // Both …74.2 and …74.3 read back and are as near: the even digit wins.
            #[allow(clippy::excessive_precision)] // the digits matter: it is a tie
            (-609_901_307_896_574.25, "-609901307896574.2"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (f, repr) in table {
            assert_eq!(FloatText::default().format(f), repr);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_reads_back_as_the_same_float(bits: u64) {
            let f = f64::from_bits(bits);
            let mut text = FloatText::default();
            let back: f64 = text.format(f).parse().unwrap();
            proptest::prop_assert!(back.to_bits() == bits || (f.is_nan() && back.is_nan()));
        }
    }
}
