//! Tokens to a syntax tree, by operator precedence. Knows no schema.
//!
//! The depth of a tree is bounded, so whatever walks it (type check, evaluation, drop) may recurse. A chain of `and` or `or` is
//! one node however long it is.

use crate::{
    error::Fault,
    lex::{Lexer, Token},
    value::{Params, Value},
};

/// Deepest nesting of an expression. Evaluation takes a few stack frames per level.
pub(crate) const DEPTH_MAX: usize = 128;
/// Most operators and operands of an expression, the elements of lists not counted.
pub(crate) const NODES_MAX: usize = 16_384;

const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const EQUALITY: u8 = 4;
const RELATION: u8 = 5;
const TERM: u8 = 6;
const SUM: u8 = 7;
const PRODUCT: u8 = 8;
const SIGN: u8 = 9;
const POWER: u8 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// What a list is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Among {
    /// One value.
    One,
    /// Each of several.
    All,
    /// At least one of several.
    Any,
}

/// One step into a JSON document, or into an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) depth: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Constant(Value),
    Path {
        name: String,
        steps: Vec<Step>,
    },
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Compare(Comparison, Box<[Node; 2]>),
    Range(Box<[Node; 3]>, [Comparison; 2]),
    In {
        value: Box<Node>,
        list: Vec<Value>,
        negated: bool,
    },
    Like {
        value: Box<Node>,
        pattern: String,
    },
    IsNull {
        value: Box<Node>,
        negated: bool,
    },
    Exists(Box<Node>),
    /// Does a list, an array field or one in a JSON document, hold these?
    Contains {
        list: Box<Node>,
        among: Among,
        values: Vec<Value>,
    },
    /// Number of elements of such a list.
    Length(Box<Node>),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

impl Kind {
    /// Levels that this node has when it is evaluated; a chain of n is evaluated as a balanced tree.
    fn depth(&self) -> usize {
        let deepest = |nodes: &[Node]| nodes.iter().map(|node| node.depth).max().unwrap_or_default();
        match self {
            Self::Constant(_) | Self::Path { .. } => 1,
            Self::Arithmetic(_, pair) | Self::Compare(_, pair) => 1 + deepest(&pair[..]),
            Self::Range(three, _) => 2 + deepest(&three[..]),
            Self::In { value, .. } | Self::Like { value, .. } | Self::IsNull { value, .. } => 1 + value.depth,
            Self::Contains { list, .. } => 1 + list.depth,
            Self::Exists(value) | Self::Length(value) | Self::Not(value) => 1 + value.depth,
            Self::All(nodes) | Self::Any(nodes) => nodes.len().next_power_of_two().ilog2() as usize + deepest(nodes),
        }
    }
}

/// The tree of a text that is not blank.
pub(crate) fn parse(text: &str, params: &Params) -> Result<Node, Fault> {
    let mut lexer = Lexer::new(text);
    let (at, next) = lexer.token()?;
    let mut parser = Parser { lexer, at, next, params, depth: 0, nodes: 0 };
    let node = parser.expression(OR)?;
    match parser.next {
        Token::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Where `next` starts.
    at: usize,
    next: Token,
    params: &'a Params,
    depth: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, Fault> {
        let (at, next) = self.lexer.token()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn accept(&mut self, symbol: &'static str) -> Result<bool, Fault> {
        let found = self.next == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Fault> {
        if self.accept(symbol)? { Ok(()) } else { Err(self.wanted(&format!("'{symbol}'"))) }
    }

    fn unexpected(&self) -> Fault {
        Fault::new(
            self.at,
            match &self.next {
                Token::End => "unexpected end of expression".to_owned(),
                Token::Symbol(symbol) => format!("unexpected '{symbol}'"),
                Token::Word(word) => format!("unexpected '{word}'"),
                Token::Parameter(name) => format!("unexpected '{{{name}}}'"),
                _ => "unexpected constant".to_owned(),
            },
        )
    }

    fn wanted(&self, what: &str) -> Fault {
        let fault = self.unexpected();
        Fault { message: format!("{}, expected {what}", fault.message), ..fault }
    }

    fn node(&mut self, at: usize, kind: Kind) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Fault::new(at, format!("more than {NODES_MAX} operators and operands")));
        }
        let depth = kind.depth();
        if depth > DEPTH_MAX { Err(too_deep(at)) } else { Ok(Node { at, depth, kind }) }
    }

    /// An expression of operators that bind at least as strongly as `weakest`.
    fn expression(&mut self, weakest: u8) -> Result<Node, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(self.at));
        }
        let mut left = self.operand()?;
        while let Some(strength) = strength(&self.next)
            && strength >= weakest
        {
            left = self.operator(left, strength)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, Fault> {
        let at = self.at;
        let kind = match self.next {
            Token::Symbol("(") => {
                self.advance()?;
                let inner = self.expression(OR)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Symbol("not") => {
                self.advance()?;
                Kind::Not(Box::new(self.expression(NOT)?))
            }
            Token::Symbol("exists") => {
                self.advance()?;
                Kind::Exists(Box::new(self.expression(POWER + 1)?))
            }
            Token::Symbol("-") => {
                self.advance()?;
                return self.negative(at);
            }
            Token::Symbol("+") => {
                self.advance()?;
                let zero = self.node(at, Kind::Constant(Value::Int(0)))?;
                Kind::Arithmetic(Arithmetic::Add, Box::new([zero, self.expression(SIGN)?]))
            }
            Token::Symbol("[") => Kind::Constant(self.nested_list()?),
            Token::Symbol(_) | Token::End => return Err(self.unexpected()),
            Token::Word(_) => self.path()?,
            _ => Kind::Constant(self.constant()?),
        };
        self.node(at, kind)
    }

    fn constant(&mut self) -> Result<Value, Fault> {
        let at = self.at;
        Ok(match self.advance()? {
            Token::Bool(value) => Value::Bool(value),
            Token::Float(value) => Value::Float(value),
            Token::Text(value) => Value::Text(value),
            Token::Int(value) => {
                Value::Int(i64::try_from(value).map_err(|_| Fault::new(at, format!("{value} is out of range")))?)
            }
            Token::Parameter(name) => {
                let unknown = || Fault::new(at, format!("template parameter {name} has no value"));
                self.params.get(&name).cloned().ok_or_else(unknown)?
            }
            Token::Word(_) | Token::Symbol(_) | Token::End => return Err(Fault::new(at, "expected a constant")),
        })
    }

    fn negative(&mut self, at: usize) -> Result<Node, Fault> {
        // The only number whose positive form is out of range.
        if self.next == Token::Int(i64::MIN.unsigned_abs()) {
            self.advance()?;
            return self.node(at, Kind::Constant(Value::Int(i64::MIN)));
        }
        let operand = self.expression(SIGN)?;
        let kind = match operand.kind {
            Kind::Constant(Value::Int(value)) if value != i64::MIN => Kind::Constant(Value::Int(-value)),
            Kind::Constant(Value::Float(value)) => Kind::Constant(Value::Float(-value)),
            _ => {
                let zero = self.node(at, Kind::Constant(Value::Int(0)))?;
                Kind::Arithmetic(Arithmetic::Subtract, Box::new([zero, operand]))
            }
        };
        self.node(at, kind)
    }

    fn path(&mut self) -> Result<Kind, Fault> {
        let at = self.at;
        let Token::Word(name) = self.advance()? else {
            return Err(Fault::new(at, "expected a name"));
        };
        if self.next == Token::Symbol("(") {
            return self.function(at, &name);
        }
        let mut steps = Vec::new();
        while self.accept("[")? {
            let at = self.at;
            let refused = || Fault::new(at, "expected a key or an index");
            steps.push(match self.advance()? {
                Token::Text(key) => Step::Key(key),
                Token::Int(index) => Step::Index(usize::try_from(index).map_err(|_| refused())?),
                _ => return Err(refused()),
            });
            self.expect("]")?;
        }
        Ok(Kind::Path { name, steps })
    }

    /// What follows the name of a function. Names are all lower or all upper case.
    fn function(&mut self, at: usize, name: &str) -> Result<Kind, Fault> {
        let known = |lower: &str| name == lower || name == lower.to_uppercase();
        let among = match () {
            () if known("json_contains") || known("array_contains") => Some(Among::One),
            () if known("json_contains_all") || known("array_contains_all") => Some(Among::All),
            () if known("json_contains_any") || known("array_contains_any") => Some(Among::Any),
            () if known("array_length") => None,
            () => return Err(Fault::new(at, format!("function {name} is not supported"))),
        };
        self.expect("(")?;
        let list = Box::new(self.expression(OR)?);
        let Some(among) = among else {
            self.expect(")")?;
            return Ok(Kind::Length(list));
        };
        self.expect(",")?;
        let at = self.at;
        let nodes = self.nodes;
        let Kind::Constant(value) = self.expression(OR)?.kind else {
            return Err(Fault::new(at, format!("the second argument of {name} must be a constant")));
        };
        self.nodes = nodes;
        self.expect(")")?;
        let values = match (among, value) {
            (Among::One, value) => vec![value],
            (_, Value::List(values)) => values,
            _ => return Err(Fault::new(at, format!("the second argument of {name} must be a list"))),
        };
        Ok(Kind::Contains { list, among, values })
    }

    /// A list of constants, which may be lists.
    fn nested_list(&mut self) -> Result<Value, Fault> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep(self.at));
        }
        self.depth += 1;
        self.expect("[")?;
        let mut values = Vec::new();
        while self.next != Token::Symbol("]") {
            let (at, nodes) = (self.at, self.nodes);
            values.push(match self.expression(OR)?.kind {
                Kind::Constant(value) => value,
                _ => return Err(Fault::new(at, "the elements of a list must be constants")),
            });
            self.nodes = nodes;
            if !self.accept(",")? {
                break;
            }
        }
        self.expect("]")?;
        self.depth -= 1;
        Ok(Value::List(values))
    }

    fn operator(&mut self, left: Node, strength: u8) -> Result<Node, Fault> {
        let at = self.at;
        let token = self.advance()?;
        let kind = match token {
            Token::Symbol("or") => Kind::Any(self.chain(left, "or", AND)?),
            Token::Symbol("and") => Kind::All(self.chain(left, "and", NOT)?),
            Token::Symbol("like") => Kind::Like { value: Box::new(left), pattern: self.pattern()? },
            Token::Symbol("in") => Kind::In { value: Box::new(left), list: self.list()?, negated: false },
            Token::Symbol("not") => {
                self.expect("in")?;
                Kind::In { value: Box::new(left), list: self.list()?, negated: true }
            }
            Token::Symbol("**") => {
                // Binds to the right: 2 ** 3 ** 2 is 2 ** 9.
                Kind::Arithmetic(Arithmetic::Power, Box::new([left, self.expression(POWER)?]))
            }
            Token::Symbol(symbol) => {
                let right = self.expression(strength + 1)?;
                match (arithmetic(symbol), comparison(symbol)) {
                    (Some(operator), _) => Kind::Arithmetic(operator, Box::new([left, right])),
                    (None, Some(operator)) => self.comparison(left, operator, right)?,
                    (None, None) => return Err(Fault::new(at, format!("unexpected '{symbol}'"))),
                }
            }
            _ => {
                let negated = self.accept("not")?;
                if !self.next.is_word("null") {
                    return Err(self.wanted("'null'"));
                }
                self.advance()?;
                Kind::IsNull { value: Box::new(left), negated }
            }
        };
        self.node(at, kind)
    }

    fn chain(&mut self, first: Node, symbol: &'static str, weakest: u8) -> Result<Vec<Node>, Fault> {
        let mut nodes = vec![first, self.expression(weakest)?];
        while self.accept(symbol)? {
            nodes.push(self.expression(weakest)?);
        }
        Ok(nodes)
    }

    /// `left < right`, or the range `left < right <= last`.
    fn comparison(&mut self, left: Node, first: Comparison, right: Node) -> Result<Kind, Fault> {
        let second = match (&self.next, strength(&self.next)) {
            (Token::Symbol(symbol), Some(RELATION)) if first.direction().is_some() => comparison(symbol),
            _ => None,
        };
        let Some(second) = second else {
            return Ok(Kind::Compare(first, Box::new([left, right])));
        };
        if first.direction() != second.direction() {
            return Err(Fault::new(self.at, "a range must go in one direction, as in 1 < a <= 5"));
        }
        self.advance()?;
        let last = self.expression(RELATION + 1)?;
        if strength(&self.next) == Some(RELATION) {
            return Err(self.unexpected());
        }
        Ok(Kind::Range(Box::new([left, right, last]), [first, second]))
    }

    fn pattern(&mut self) -> Result<String, Fault> {
        let at = self.at;
        match self.constant()? {
            Value::Text(pattern) => Ok(pattern),
            _ => Err(Fault::new(at, "the pattern of 'like' must be a string")),
        }
    }

    fn list(&mut self) -> Result<Vec<Value>, Fault> {
        let at = self.at;
        if let Token::Parameter(_) = self.next {
            let Value::List(values) = self.constant()? else {
                return Err(Fault::new(at, "the value after 'in' must be a list"));
            };
            let nested = values.iter().any(|value| value.scalar().is_none());
            return if nested { Err(Fault::new(at, "a list may not hold lists")) } else { Ok(values) };
        }
        self.expect("[")?;
        let mut values = Vec::new();
        while self.next != Token::Symbol("]") {
            let (at, nodes) = (self.at, self.nodes);
            values.push(match self.expression(OR)?.kind {
                Kind::Constant(value) if value.scalar().is_some() => value,
                Kind::Constant(_) => return Err(Fault::new(at, "a list may not hold lists")),
                _ => return Err(Fault::new(at, "the elements of a list must be constants")),
            });
            self.nodes = nodes;
            if !self.accept(",")? {
                break;
            }
        }
        self.expect("]")?;
        Ok(values)
    }
}

impl Comparison {
    /// Whether values rise from left to right; nothing for (in)equality.
    fn direction(self) -> Option<bool> {
        match self {
            Self::Equal | Self::NotEqual => None,
            Self::Less | Self::LessOrEqual => Some(true),
            Self::Greater | Self::GreaterOrEqual => Some(false),
        }
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::new(at, format!("the expression is nested deeper than {DEPTH_MAX} levels"))
}

fn strength(token: &Token) -> Option<u8> {
    let Token::Symbol(symbol) = token else {
        return token.is_word("is").then_some(TERM);
    };
    Some(match *symbol {
        "or" => OR,
        "and" => AND,
        "==" | "!=" => EQUALITY,
        "<" | "<=" | ">" | ">=" => RELATION,
        "in" | "not" | "like" => TERM,
        "+" | "-" => SUM,
        "*" | "/" | "%" => PRODUCT,
        "**" => POWER,
        _ => return None,
    })
}

fn arithmetic(symbol: &str) -> Option<Arithmetic> {
    Some(match symbol {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Modulo,
        _ => return None,
    })
}

fn comparison(symbol: &str) -> Option<Comparison> {
    Some(match symbol {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
