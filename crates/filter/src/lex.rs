//! Text to tokens, one at a time, so that a hostile text costs no more memory than what is understood of it.

use crate::error::Fault;
use winnow::{
    Parser,
    ascii::{digit0, digit1, hex_digit1},
    combinator::{alt, delimited, not, opt, terminated},
    error::EmptyError,
    token::{any, one_of, take_while},
};

type Lexed<O> = Result<O, EmptyError>;

/// Keywords are symbols; `is` and `null` are words, because fields may have these names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Bool(bool),
    Int(u64),
    Float(f64),
    Text(String),
    Word(String),
    /// A template parameter
    Parameter(String),
    Symbol(&'static str),
    End,
}

impl Token {
    pub(crate) fn is_word(&self, lower: &str) -> bool {
        matches!(self, Self::Word(word) if word == lower || *word == lower.to_uppercase())
    }
}

/// The tokens of a text.
pub(crate) struct Lexer<'a> {
    rest: &'a str,
    length: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, length: text.len() }
    }

    /// The next token and the byte where it starts.
    pub(crate) fn token(&mut self) -> Result<(usize, Token), Fault> {
        self.rest = self.rest.trim_start();
        let at = self.length - self.rest.len();
        let Some(first) = self.rest.chars().next() else {
            return Ok((at, Token::End));
        };
        let token = alt((float, integer, parameter, word, symbol, string)).parse_next(&mut self.rest);
        token.map(|token| (at, token)).map_err(|_| {
            Fault::new(
                at,
                match first {
                    '"' | '\'' => "the string does not end or has a bad escape".to_owned(),
                    '0'..='9' | '.' => "bad number, or a number out of range".to_owned(),
                    '{' => "bad template parameter, write {name}".to_owned(),
                    other => format!("unexpected '{}'", other.escape_debug()),
                },
            )
        })
    }
}

fn float(input: &mut &str) -> Lexed<Token> {
    let exponent = || (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1).void();
    let number = alt((
        (digit1, '.', digit0, opt(exponent())).void(),
        ('.', digit1, opt(exponent())).void(),
        (digit1, exponent()).void(),
    ));
    terminated(number.take(), not(one_of(in_number)))
        .verify_map(|text: &str| text.parse().ok().filter(|value: &f64| value.is_finite()))
        .map(Token::Float)
        .parse_next(input)
}

fn integer(input: &mut &str) -> Lexed<Token> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
    let number = alt((
        ('0', one_of(['x', 'X']), hex_digit1).verify_map(move |(_, _, digits)| radix(digits, 16)),
        ('0', one_of(['b', 'B']), digit1).verify_map(move |(_, _, digits)| radix(digits, 2)),
        ('0', digit1).verify_map(move |(_, digits)| radix(digits, 8)),
        // As in C, a leading zero makes a number octal: 089 is none.
        digit1
            .verify(|digits: &str| digits == "0" || !digits.starts_with('0'))
            .verify_map(move |digits| radix(digits, 10)),
    ));
    terminated(number, not(one_of(in_number))).map(Token::Int).parse_next(input)
}

fn in_number(c: char) -> bool {
    c == '.' || in_word(c)
}

fn in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name<'a>(input: &mut &'a str) -> Lexed<&'a str> {
    (opt('$'), one_of(|c: char| c == '_' || c.is_alphabetic()), take_while(0.., in_word)).take().parse_next(input)
}

fn word(input: &mut &str) -> Lexed<Token> {
    let word = name(input)?;
    Ok(match word {
        "true" | "True" | "TRUE" => Token::Bool(true),
        "false" | "False" | "FALSE" => Token::Bool(false),
        "and" | "AND" => Token::Symbol("and"),
        "or" | "OR" => Token::Symbol("or"),
        "not" | "NOT" => Token::Symbol("not"),
        "in" | "IN" => Token::Symbol("in"),
        "like" | "LIKE" => Token::Symbol("like"),
        "exists" | "EXISTS" => Token::Symbol("exists"),
        _ => Token::Word(word.to_owned()),
    })
}

fn parameter(input: &mut &str) -> Lexed<Token> {
    let space = || take_while(0.., char::is_whitespace);
    delimited(('{', space()), name, (space(), '}'))
        .map(|name: &str| Token::Parameter(name.to_owned()))
        .parse_next(input)
}

fn symbol(input: &mut &str) -> Lexed<Token> {
    let two = alt((
        "&&".value("and"),
        "||".value("or"),
        "==".value("=="),
        "!=".value("!="),
        "<=".value("<="),
        ">=".value(">="),
        "**".value("**"),
    ));
    let one = any.verify_map(|c| {
        Some(match c {
            '<' => "<",
            '>' => ">",
            '!' => "not",
            '+' => "+",
            '-' => "-",
            '*' => "*",
            '/' => "/",
            '%' => "%",
            '(' => "(",
            ')' => ")",
            '[' => "[",
            ']' => "]",
            ',' => ",",
            _ => return None,
        })
    });
    alt((two, one)).map(Token::Symbol).parse_next(input)
}

fn string(input: &mut &str) -> Lexed<Token> {
    let quote = one_of(['"', '\'']).parse_next(input)?;
    let mut text = String::new();
    loop {
        match any.parse_next(input)? {
            c if c == quote => return Ok(Token::Text(text)),
            '\\' => escape(input, &mut text)?,
            c => text.push(c),
        }
    }
}

/// An escape without a meaning of its own stays as it is, backslash and all: `\%` reaches `like` so.
fn escape(input: &mut &str, text: &mut String) -> Lexed<()> {
    match any.parse_next(input)? {
        'n' => text.push('\n'),
        'r' => text.push('\r'),
        't' => text.push('\t'),
        'b' => text.push('\u{8}'),
        'f' => text.push('\u{c}'),
        c @ ('\\' | '"' | '\'') => text.push(c),
        'u' => {
            let digits = take_while(4, |c: char| c.is_ascii_hexdigit());
            let code = digits.verify_map(|code: &str| u32::from_str_radix(code, 16).ok()).parse_next(input)?;
            text.push(char::from_u32(code).ok_or(EmptyError)?);
        }
        other => text.extend(['\\', other]),
    }
    Ok(())
}
