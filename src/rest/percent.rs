//! Percent-decoding with Elasticsearch's refusals, where libraries let a stray `%` stand for itself; and the way back.

use std::fmt::Write;

use super::error_answer::ErrorAnswer;

/// What a `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    IsPlus,
    IsSpace,
}

pub(super) fn decode(text: &str, plus: Plus) -> Result<String, ErrorAnswer> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'+' if plus == Plus::IsSpace => decoded.push(b' '),
            b'%' => {
                let (Some((_, high)), Some((_, low))) = (bytes.next(), bytes.next()) else {
                    return Err(ErrorAnswer::bad_request(format!("partial escape sequence at end of string: {text}")));
                };
                let Some(value) = hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low) else {
                    let sequence = String::from_utf8_lossy(&[high, low]).into_owned();
                    let reason = format!("invalid escape sequence `%{sequence}' at index {at} of: {text}");
                    return Err(ErrorAnswer::bad_request(reason));
                };
                decoded.push(value);
            }
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded)
        .map_err(|_| ErrorAnswer::bad_request(format!("the escape sequences are not valid UTF-8: {text}")))
}

/// As a part of a path.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Into a string nothing fails.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
