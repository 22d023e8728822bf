//! Tokens: secrets by which a caller says who it is.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::random::Randomness;
use crate::token_use::TokenHash;

/// The beginning of every token, by which scanners for secrets know one.
const MARK: &str = "goku_";

/// Digits of the secret: 62^43 is more than 2^256.
const SECRET_DIGITS: usize = 43;

/// Digits of the checksum: 62^6 is more than 2^32.
const CHECKSUM_DIGITS: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token: `goku_`, 256 random bits in base 62, and a CRC32 of these 43 digits in 6 more, by which a scanner for secrets tells a
/// token from what only looks like one.
///
/// It is shown by [`reveal`](Self::reveal) alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new token.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the system has no random number to give.
    pub fn random() -> Result<Token> {
        let randomness = Randomness::default();
        let mut secret = [0; 32];
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&randomness.number()?.to_be_bytes());
        }
        let digits = base62(&secret, SECRET_DIGITS);
        let checksum = checksum(&digits);
        Ok(Token(format!("{MARK}{digits}{checksum}")))
    }

    /// The token's text: the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash by which a store knows it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_bytes(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Whether a text is meant to be a token, whether or not it is one.
    pub(crate) fn is_meant_by(text: &str) -> bool {
        text.starts_with(MARK)
    }
}

/// The number of these bytes, the most significant first, in so many digits to the base 62.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut found = vec![DIGITS[0]; digits];
    for digit in found.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    found.into_iter().map(char::from).collect()
}

fn checksum(digits: &str) -> String {
    base62(&crc32fast::hash(digits.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

impl FromStr for Token {
    type Err = Error;

    /// Reads a token's text. No error shows any of it.
    ///
    /// # Errors
    ///
    /// - `Unauthenticated`: the text has another form, or was not copied whole.
    fn from_str(text: &str) -> Result<Token> {
        let parse = || {
            let digits = text.strip_prefix(MARK)?;
            let is_whole = digits.len() == SECRET_DIGITS + CHECKSUM_DIGITS
                && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let (secret, sum) = is_whole.then(|| digits.split_at(SECRET_DIGITS))?;
            (checksum(secret) == sum).then(|| Token(text.to_owned()))
        };
        parse().ok_or_else(|| {
            let message = format!(
                "the token is none: a token is {MARK} with {} letters and digits, and this one was not copied whole",
                SECRET_DIGITS + CHECKSUM_DIGITS
            );
            Error::new(ErrorKind::Unauthenticated, message)
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_revealed_and_shown_nowhere_else() {
        let token = Token::random().unwrap();
        assert_eq!(token.reveal().len(), 54);
        assert_eq!(token.reveal().parse::<Token>().unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(***)");
        assert_ne!(Token::random().unwrap(), token);
    }

    #[test]
    fn a_token_that_was_not_copied_whole_is_none_and_the_error_does_not_show_it() {
        let token = Token::random().unwrap().reveal().to_owned();
        let other_digit = if token.ends_with('0') { '1' } else { '0' };
        for text in [
            "",
            "goku_",
            &token[..53],
            &token[1..],
            &format!("{token}0"),
            &format!("{}{other_digit}", &token[..53]),
            &format!("goku_{}", "é".repeat(49)),
        ] {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{text}");
            assert!(text.len() < 6 || !error.to_string().contains(&text[5..]), "{error}");
        }
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = Token::random().unwrap().hash();
        assert_eq!(TokenHash::try_from(hash.to_string()).unwrap(), hash);
        for wrong in ["", &hash.to_string()[1..], &"x".repeat(64), &"é".repeat(32)] {
            assert!(TokenHash::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn base_62_has_a_digit_for_each_part() {
        assert_eq!(base62(&[0, 61], 3), "00z");
        assert_eq!(base62(&[0, 62], 3), "010");
        assert_eq!(base62(&[0xff; 4], 6), "4gfFC3");
    }
}
