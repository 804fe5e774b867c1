//! Which names and passwords users may give, in the words of Milvus.

use crate::access::Secret;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use elanus_types::{Code, Failure, privilege::ANY};

/// In bytes.
const USER_BYTES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MIN: usize = 6;
const PASSWORD_BYTES_MAX: usize = 72;

fn invalid(text: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("{text}: invalid parameter"))
}

/// A name as errors show it, however long it is.
fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX + 1)]
}

/// A name of a user, with letters, digits and `_-.`.
pub(super) fn user(name: &str) -> Result<(), Failure> {
    let trimmed = name.trim();
    let Some(first) = trimmed.chars().next() else { return Err(invalid("username must be not empty")) };
    let len = trimmed.len();
    if len > USER_BYTES_MAX {
        let name = shown(trimmed);
        return Err(invalid(format!(
            "invalid username {name} with length {len}, the length of username must be less than {USER_BYTES_MAX}"
        )));
    }
    if !first.is_ascii_alphabetic() {
        return Err(invalid(format!(
            "invalid user name {trimmed}, the first character must be a letter, but got {first}"
        )));
    }
    let may = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match name.chars().find(|c| !may(c)) {
        None => Ok(()),
        Some(c) => Err(invalid(format!(
            "invalid user name {trimmed}, username must contain only numbers, letters, underscores, dots, and hyphens, but \
             got {c}"
        ))),
    }
}

fn name(what: &str, name: &str, extra: &str) -> Result<(), Failure> {
    let trimmed = name.trim();
    let Some(first) = trimmed.chars().next() else {
        return Err(Failure::invalid(format!(
            "{what} should be not empty: invalid parameter[expected=not empty][actual={trimmed}]"
        )));
    };
    let len = trimmed.len();
    if len > NAME_BYTES_MAX {
        return Err(Failure::invalid(format!(
            "the length of {what} must be not greater than limit: invalid parameter[{len} out of range 0 <= value <= {NAME_BYTES_MAX}]"
        )));
    }
    if first != '_' && !first.is_ascii_alphabetic() {
        return Err(Failure::invalid(format!(
            "the first character of {what} must be an underscore or letter: invalid parameter[expected=95][actual={}]",
            u32::from(first)
        )));
    }
    if name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric() || extra.contains(c)) {
        return Ok(());
    }
    Err(invalid(format!("{what} can only contain numbers, letters, underscores, and allowed characters ({extra})")))
}

pub(super) fn role(role: &str) -> Result<(), Failure> {
    name("role name", role, "$-")
}

pub(super) fn privilege(privilege: &str) -> Result<(), Failure> {
    if privilege == ANY { Ok(()) } else { name("Privilege", privilege, "$") }
}

pub(super) fn object_type(object_type: &str) -> Result<(), Failure> {
    name("ObjectType", object_type, "$")
}

/// A collection or a user.
pub(super) fn object(object: &str) -> Result<(), Failure> {
    if object == ANY { Ok(()) } else { name("object name", object, "$-.") }
}

/// A group of privileges that a user makes.
pub(super) fn group(group: &str) -> Result<(), Failure> {
    let why = match group.chars().next() {
        None => "privilege group name should not be empty".to_owned(),
        Some(_) if group.len() > NAME_BYTES_MAX => {
            let group = shown(group);
            format!("the length of a privilege group name {group} must be less than {NAME_BYTES_MAX} characters")
        }
        Some(first) if first != '_' && !first.is_ascii_alphabetic() => {
            format!("the first character of a privilege group name {group} must be an underscore or letter")
        }
        Some(_) if !group.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) => {
            format!("privilege group name {group} can only contain numbers, letters and underscores")
        }
        Some(_) => return Ok(()),
    };
    Err(Failure::new(Code::GroupName, format!("{why}: invalid privilege group name[privilegeGroup={}]", shown(group))))
}

/// A password as clients send it; `which`, for the text.
pub(super) fn decoded(which: &str, base64: &str) -> Result<Secret, Failure> {
    let bytes = BASE64_STANDARD.decode(base64).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Secret)
        .ok_or_else(|| Failure::new(Code::Unexpected, format!("decode {which} fail: it is not text in base64")))
}

/// A password that a user may have.
pub(super) fn password(Secret(password): &Secret) -> Result<(), Failure> {
    let len = password.len();
    if (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&len) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "invalid password length: invalid parameter[{len} out of range {PASSWORD_BYTES_MIN} <= value <= {PASSWORD_BYTES_MAX}]"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<(), Failure>) -> (i32, String) {
        let failure = result.unwrap_err();
        (failure.code.number(), failure.message)
    }

    #[test]
    fn names_are_judged_in_the_words_of_milvus() {
        for good in ["ann", "a.b-c_1", &"a".repeat(32)] {
            assert_eq!(user(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("", "username must be not empty: invalid parameter"),
            ("  ", "username must be not empty"),
            ("1a", "invalid user name 1a, the first character must be a letter, but got 1"),
            ("_a", "the first character must be a letter, but got _"),
            ("a b", "username must contain only numbers, letters, underscores, dots, and hyphens, but got  "),
            ("a:b", "but got :"),
            ("a\n", "but got \n"),
            ("ä", "the first character must be a letter, but got ä"),
            (&"a".repeat(33), "with length 33, the length of username must be less than 32"),
            (&"ä".repeat(100_000), "with length 200000"),
        ] {
            let (code, message) = text(user(bad));
            assert!(code == 1100 && message.contains(says) && message.len() < 600, "{message}");
        }
        assert_eq!((role("r-1"), role("$x").is_err(), privilege("*"), object("*")), (Ok(()), true, Ok(()), Ok(())));
        assert!(text(role("")).1.starts_with("role name should be not empty: invalid parameter[expected=not empty]"));
        assert!(text(role("a b")).1.starts_with("role name can only contain numbers, letters, underscores"));
        assert!(text(role(&"a".repeat(256))).1.starts_with("the length of role name must be not greater than limit"));
        assert!(
            text(object_type("1")).1.starts_with("the first character of ObjectType must be an underscore or letter")
        );
        assert_eq!(group("mine"), Ok(()));
        for bad in ["", "1", "a-b", &"a".repeat(256)] {
            assert_eq!(text(group(bad)).0, 1402);
        }
    }

    #[test]
    fn a_password_is_text_of_6_to_72_bytes_and_is_never_repeated() {
        let of = |text: &str| password(&Secret(text.to_owned()));
        assert_eq!((of("secret"), of(&"x".repeat(72))), (Ok(()), Ok(())));
        assert_eq!(
            text(of("short")),
            (1100, "invalid password length: invalid parameter[5 out of range 6 <= value <= 72]".to_owned())
        );
        assert_eq!(text(of(&"x".repeat(73))).0, 1100);
        assert_eq!(decoded("password", "c2VjcmV0").unwrap().0, "secret");
        for bad in ["secret!", "/w==", "c2VjcmV0\n"] {
            let failure = decoded("password", bad).unwrap_err();
            assert!(failure.message.starts_with("decode password fail") && !failure.message.contains("cret"), "{bad}");
        }
    }
}
