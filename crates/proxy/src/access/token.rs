//! Who a call says it is: `authorization: base64(user:password)`, as clients of Milvus send it.

use super::passwords::Secret;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};

/// Longest value that is looked at, in bytes: a user has 32 bytes at most and a password 72.
const TOKEN_BYTES_MAX: usize = 512;

/// User and password. Nothing is known of them yet.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// # Errors
/// What is told to the caller, in the words of Milvus.
pub(super) fn read(headers: &HeaderMap) -> Result<Credentials, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("missing authorization in header")?;
    // Which of them would be meant, somebody in between may see otherwise.
    if values.next().is_some() || value.len() > TOKEN_BYTES_MAX {
        return Err("invalid token format");
    }
    let decoded = BASE64_STANDARD.decode(value.as_bytes()).map_err(|_| "invalid token format")?;
    let text = String::from_utf8(decoded).map_err(|_| "invalid token format")?;
    match text.split_once(':') {
        Some((user, password)) => Ok(Credentials { user: user.to_owned(), password: Secret(password.to_owned()) }),
        None => Err("auth check failure, please check api key is correct"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(values: &[&[u8]]) -> Result<(String, String), &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        read(&headers).map(|found| (found.user, found.password.0))
    }

    fn base64(text: impl AsRef<[u8]>) -> Vec<u8> {
        BASE64_STANDARD.encode(text).into_bytes()
    }

    #[test]
    fn a_token_is_a_user_and_a_password_in_which_a_colon_may_be() {
        let pair = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
        assert_eq!(of(&[&base64("root:Milvus")]), pair("root", "Milvus"));
        assert_eq!(of(&[&base64("a:b:c:")]), pair("a", "b:c:"));
        assert_eq!(of(&[&base64(":")]), pair("", ""));
        assert_eq!(of(&[&base64("ü:ß")]), pair("ü", "ß"));
    }

    #[test]
    fn hostile_tokens_are_refused_in_the_words_of_milvus() {
        let good = base64("root:Milvus");
        assert_eq!(of(&[]), Err("missing authorization in header"));
        assert_eq!(of(&[&base64("an-api-key")]), Err("auth check failure, please check api key is correct"));
        let long = base64("a:".to_owned() + &"x".repeat(TOKEN_BYTES_MAX));
        for hostile in [
            &b"root:Milvus"[..],
            b"",
            b"Bearer cm9vdDpNaWx2dXM=",
            b"cm9vdDpNaWx2dXM=\t",
            b"cm9vdDpNaWx2dXM",
            b"\xff\xfe",
            &base64([0xff, b':', 0xfe]),
            &long,
        ] {
            let found = of(&[hostile]);
            assert!(matches!(
                found,
                Err("invalid token format" | "auth check failure, please check api key is correct")
            ));
        }
        assert_eq!(of(&[&good, &good]), Err("invalid token format"));
        assert_eq!(of(&[b"x", &good]), Err("invalid token format"));
    }
}
