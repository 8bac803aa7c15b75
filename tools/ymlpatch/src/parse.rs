//! Parses tokens into an expression. Precedence is jq's: `|`, `,`, `//`, updates, `or`, `and`, comparisons, `+ -`, `* / %`.

use crate::{Fault, fault, lex::Token};
use serde_json::Value;

/// An expression and its byte offset.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub at: usize,
    pub kind: Kind,
}

type Sub = Box<Expr>;

/// Binary operators that give one value for each pair of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Subtract,
    Multiply,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Identity,
    Literal(Value),
    Variable(String),
    /// `base.name`, `base[key]`.
    Index(Sub, Sub),
    /// `base[from:to]`.
    Slice(Sub, Option<Sub>, Option<Sub>),
    /// `base[]`.
    Each(Sub),
    /// `base?`.
    Try(Sub),
    Array(Option<Sub>),
    Object(Vec<(Expr, Expr)>),
    Pipe(Sub, Sub),
    Comma(Sub, Sub),
    Alternative(Sub, Sub),
    And(Sub, Sub),
    Or(Sub, Sub),
    Binary(Op, Sub, Sub),
    /// `|=` (no operator), or `+=`, `-=`, `*=`.
    Update(Sub, Sub, Option<Op>),
    /// `=`.
    Assign(Sub, Sub),
    /// `source as $name | body`.
    Bind(Sub, String, Sub),
    Call(String, Vec<Expr>),
}

/// Parses the whole program.
pub(crate) fn parse(tokens: Vec<(Token, usize)>) -> Result<Expr, Fault> {
    if let Some((_, at)) = tokens.get(MOST_TOKENS) {
        return fault(*at, format!("the program has more than {MOST_TOKENS} tokens"));
    }
    let mut parser = Parser { tokens, next: 0, depth: 0 };
    let expression = parser.pipe()?;
    match parser.peek() {
        Token::End => Ok(expression),
        token => fault(parser.at(), format!("unexpected {}", describe(token))),
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Dot => "`.`".to_owned(),
        Token::Field(name) => format!("`.{name}`"),
        Token::Variable(name) => format!("`${name}`"),
        Token::Name(name) => format!("`{name}`"),
        Token::Literal(value) => format!("`{value}`"),
        Token::Sign(sign) => format!("`{sign}`"),
        Token::End => "end of the program".to_owned(),
    }
}

/// Operator and its precedence. Only `//` is right-associative.
const OPERATORS: &[(&str, u8)] = &[
    ("//", 1),
    ("=", 2),
    ("|=", 2),
    ("+=", 2),
    ("-=", 2),
    ("*=", 2),
    ("or", 3),
    ("and", 4),
    ("==", 5),
    ("!=", 5),
    ("<", 5),
    ("<=", 5),
    (">", 5),
    (">=", 5),
    ("+", 6),
    ("-", 6),
    ("*", 7),
];
const UPDATE: u8 = 2;
const COMPARE: u8 = 5;

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    /// Nesting depth of the current expression.
    depth: usize,
}

/// Limits of nesting, which bounds the stack, and of length.
const DEEPEST: usize = 64;
const MOST_TOKENS: usize = 4096;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn at(&self) -> usize {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn take_if(&mut self, sign: &'static str) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.take_if(sign) {
            return Ok(());
        }
        fault(self.at(), format!("expected `{sign}` before {}", describe(self.peek())))
    }

    fn pipe(&mut self) -> Result<Expr, Fault> {
        let at = self.at();
        let left = self.comma()?;
        if self.take_if("|") {
            return Ok(Expr { at, kind: Kind::Pipe(left.into(), self.pipe()?.into()) });
        }
        Ok(left)
    }

    fn comma(&mut self) -> Result<Expr, Fault> {
        let mut left = self.operators(0)?;
        while self.take_if(",") {
            left = Expr { at: left.at, kind: Kind::Comma(left.into(), self.operators(0)?.into()) };
        }
        Ok(left)
    }

    /// Parses operators with a precedence above `least`.
    fn operators(&mut self, least: u8) -> Result<Expr, Fault> {
        let mut left = self.postfix()?;
        loop {
            let sign = match self.peek() {
                Token::Sign(sign) => (*sign).to_owned(),
                Token::Name(name) => name.clone(),
                _ => return Ok(left),
            };
            let Some((_, strength)) = OPERATORS.iter().find(|(known, strength)| *known == sign && *strength > least) else {
                return Ok(left);
            };
            let at = self.at();
            self.take();
            let right = self.operators(if sign == "//" { 0 } else { *strength })?;
            left = Expr { at, kind: binary(&sign, left.into(), right.into()) };
            if [UPDATE, COMPARE].contains(strength)
                && let Token::Sign(next) = self.peek()
                && OPERATORS.iter().any(|(known, other)| known == next && other == strength)
            {
                return fault(self.at(), format!("`{next}` cannot follow `{sign}` without parentheses"));
            }
        }
    }

    /// A term with its suffixes: `.name`, `[…]`, `?`, `as $x | …`.
    fn postfix(&mut self) -> Result<Expr, Fault> {
        let mut base = self.term()?;
        loop {
            let at = self.at();
            let kind = match self.peek().clone() {
                Token::Field(name) => {
                    self.take();
                    Kind::Index(base.into(), Expr { at, kind: Kind::Literal(name.into()) }.into())
                }
                Token::Dot if matches!(self.tokens.get(self.next + 1), Some((Token::Sign("[") | Token::Literal(Value::String(_)), _))) => {
                    self.take();
                    match self.peek().clone() {
                        Token::Literal(name) => {
                            self.take();
                            Kind::Index(base.into(), Expr { at, kind: Kind::Literal(name) }.into())
                        }
                        _ => self.brackets(base)?,
                    }
                }
                Token::Sign("[") => self.brackets(base)?,
                Token::Sign("?") => {
                    self.take();
                    Kind::Try(base.into())
                }
                Token::Name(word) if word == "as" => {
                    self.take();
                    let place = self.at();
                    let Token::Variable(name) = self.take() else { return fault(place, "`as` needs a variable, such as `as $x`") };
                    self.expect("|")?;
                    return Ok(Expr { at, kind: Kind::Bind(base.into(), name, self.pipe()?.into()) });
                }
                _ => return Ok(base),
            };
            base = Expr { at, kind };
        }
    }

    fn brackets(&mut self, base: Expr) -> Result<Kind, Fault> {
        self.expect("[")?;
        if self.take_if("]") {
            return Ok(Kind::Each(base.into()));
        }
        if self.take_if(":") {
            let to = self.pipe()?;
            self.expect("]")?;
            return Ok(Kind::Slice(base.into(), None, Some(to.into())));
        }
        let from = self.pipe()?;
        if self.take_if("]") {
            return Ok(Kind::Index(base.into(), from.into()));
        }
        self.expect(":")?;
        let to = if *self.peek() == Token::Sign("]") { None } else { Some(self.pipe()?.into()) };
        self.expect("]")?;
        Ok(Kind::Slice(base.into(), Some(from.into()), to))
    }

    fn term(&mut self) -> Result<Expr, Fault> {
        if self.depth == DEEPEST {
            return fault(self.at(), format!("expressions are nested more than {DEEPEST} deep"));
        }
        self.depth += 1;
        let term = self.any_term();
        self.depth -= 1;
        term
    }

    fn any_term(&mut self) -> Result<Expr, Fault> {
        let at = self.at();
        let identity = || Box::new(Expr { at, kind: Kind::Identity });
        let kind = match self.take() {
            Token::Dot => match self.peek().clone() {
                Token::Literal(Value::String(name)) => {
                    self.take();
                    Kind::Index(identity(), Expr { at, kind: Kind::Literal(name.into()) }.into())
                }
                _ => Kind::Identity,
            },
            Token::Field(name) => Kind::Index(identity(), Expr { at, kind: Kind::Literal(name.into()) }.into()),
            Token::Literal(value) => Kind::Literal(value),
            Token::Variable(name) => Kind::Variable(name),
            Token::Name(name) => self.named(name, at)?,
            Token::Sign("(") => {
                let inner = self.pipe()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                if self.take_if("]") {
                    Kind::Array(None)
                } else {
                    let inner = self.pipe()?;
                    self.expect("]")?;
                    Kind::Array(Some(inner.into()))
                }
            }
            Token::Sign("{") => Kind::Object(self.object()?),
            Token::Sign("-") => {
                let zero = Expr { at, kind: Kind::Literal(0.into()) };
                Kind::Binary(Op::Subtract, zero.into(), self.postfix()?.into())
            }
            token => return fault(at, format!("{} cannot begin an expression", describe(&token))),
        };
        Ok(Expr { at, kind })
    }

    fn named(&mut self, name: String, at: usize) -> Result<Kind, Fault> {
        let mut arguments = Vec::new();
        match name.as_str() {
            "true" => return Ok(Kind::Literal(true.into())),
            "false" => return Ok(Kind::Literal(false.into())),
            "null" => return Ok(Kind::Literal(Value::Null)),
            "if" | "reduce" | "foreach" | "def" | "try" | "label" | "import" | "include" => {
                return fault(at, format!("`{name}` of jq is not supported"));
            }
            "as" | "and" | "or" | "then" | "else" | "elif" | "end" | "catch" => {
                return fault(at, format!("`{name}` cannot begin an expression"));
            }
            _ => {}
        }
        if self.take_if("(") {
            arguments.push(self.pipe()?);
            while self.take_if(";") {
                arguments.push(self.pipe()?);
            }
            self.expect(")")?;
        }
        check_call(&name, arguments.len(), at)?;
        Ok(Kind::Call(name, arguments))
    }

    /// The content of an object and the closing brace; the opening one is consumed.
    fn object(&mut self) -> Result<Vec<(Expr, Expr)>, Fault> {
        let mut pairs = Vec::new();
        if self.take_if("}") {
            return Ok(pairs);
        }
        loop {
            let at = self.at();
            let literal = |value: Value| Expr { at, kind: Kind::Literal(value) };
            let (key, short) = match self.take() {
                Token::Name(name) => {
                    let identity = Expr { at, kind: Kind::Identity };
                    let value = Kind::Index(identity.into(), literal(name.clone().into()).into());
                    (literal(name.into()), Some(Expr { at, kind: value }))
                }
                Token::Literal(name @ Value::String(_)) => (literal(name), None),
                Token::Variable(name) => (literal(name.clone().into()), Some(Expr { at, kind: Kind::Variable(name) })),
                Token::Sign("(") => {
                    let key = self.pipe()?;
                    self.expect(")")?;
                    (key, None)
                }
                token => return fault(at, format!("{} cannot be an object's key", describe(&token))),
            };
            let value = match short {
                Some(value) if *self.peek() != Token::Sign(":") => value,
                _ => {
                    self.expect(":")?;
                    self.operators(0)?
                }
            };
            pairs.push((key, value));
            if self.take_if("}") {
                return Ok(pairs);
            }
            self.expect(",")?;
        }
    }
}

fn binary(sign: &str, left: Sub, right: Sub) -> Kind {
    let op = match sign {
        "//" => return Kind::Alternative(left, right),
        "=" => return Kind::Assign(left, right),
        "|=" => return Kind::Update(left, right, None),
        "+=" => return Kind::Update(left, right, Some(Op::Add)),
        "-=" => return Kind::Update(left, right, Some(Op::Subtract)),
        "*=" => return Kind::Update(left, right, Some(Op::Multiply)),
        "or" => return Kind::Or(left, right),
        "and" => return Kind::And(left, right),
        "+" => Op::Add,
        "-" => Op::Subtract,
        "*" => Op::Multiply,
        "==" => Op::Equal,
        "!=" => Op::Unequal,
        "<" => Op::Less,
        "<=" => Op::LessEqual,
        ">" => Op::Greater,
        _ => Op::GreaterEqual,
    };
    Kind::Binary(op, left, right)
}

/// Function names with their numbers of arguments.
const FUNCTIONS: &[(&str, &[usize])] = &[
    ("del", &[1]),
    ("empty", &[0]),
    ("endswith", &[1]),
    ("first", &[0, 1]),
    ("has", &[1]),
    ("keys", &[0]),
    ("length", &[0]),
    ("limit", &[2]),
    ("map", &[1]),
    ("not", &[0]),
    ("select", &[1]),
    ("startswith", &[1]),
    ("test", &[1, 2]),
    ("to_entries", &[0]),
];

/// Checks that the function exists and takes that many arguments.
fn check_call(name: &str, arguments: usize, at: usize) -> Result<(), Fault> {
    match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, counts)) if counts.contains(&arguments) => Ok(()),
        Some((_, counts)) => fault(at, format!("`{name}` takes {} arguments, not {arguments}", counts[0])),
        None => {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            fault(at, format!("the function `{name}` is not supported; supported are {}", known.join(", ")))
        }
    }
}
