//! Tokens to syntax tree: the grammar of `text/template`.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ast::{Arg, ArgKind, Body, Branch, Command, Node, Pipe, Source},
    funcs::FuncSet,
    lex::{Tok, Token, lex},
    template::TemplateError,
    value::Value,
};

/// How deep parentheses and blocks may nest.
const MAX_NESTING: usize = 60;

/// What one text gives: its own body, and the templates it defines.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: Arc<Body>,
    pub(crate) defined: BTreeMap<String, Arc<Body>>,
}

pub(crate) fn parse(
    name: &str,
    text: &str,
    funcs: &FuncSet,
    variables: &[&str],
) -> Result<Parsed, TemplateError> {
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    let parsed = lex(text).map_err(|e| Fault { at: e.at, message: e.message }).and_then(|tokens| {
        let mut parser = Parser {
            tokens,
            next: 0,
            variables: std::iter::once("$").chain(variables.iter().copied()).map(str::to_owned).collect(),
            funcs,
            source: Arc::clone(&source),
            defined: BTreeMap::new(),
            loops: 0,
            depth: 0,
        };
        let (nodes, end) = parser.list()?;
        if let Some(end) = end {
            return Err(Fault { at: end.at, message: format!("unexpected {{{{{}}}}}", end.word()) });
        }
        let root = Arc::new(Body { source: Arc::clone(&source), nodes });
        Ok(Parsed { root, defined: parser.defined })
    });
    parsed.map_err(|fault| TemplateError::at(&source, fault.at, fault.message))
}

struct Fault {
    at: usize,
    message: String,
}

type Parse<T> = Result<T, Fault>;

/// What ends a list of nodes before the text ends.
struct Ending {
    at: usize,
    /// `None` for `end`.
    otherwise: Option<Else>,
}

enum Else {
    Plain,
    If,
    With,
}

impl Ending {
    fn word(&self) -> &'static str {
        if self.otherwise.is_some() { "else" } else { "end" }
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    funcs: &'a FuncSet,
    source: Arc<Source>,
    defined: BTreeMap<String, Arc<Body>>,
    loops: usize,
    depth: usize,
}

const KEYWORDS: [&str; 10] =
    ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is `End` and is never taken.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if token.tok != Tok::End {
            self.next += 1;
        }
        token
    }

    fn skip_space(&mut self) {
        while self.peek().tok == Tok::Space {
            self.next += 1;
        }
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Parse<T> {
        Err(Fault { at, message: message.into() })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parse<T> {
        let what = match &token.tok {
            Tok::Text(_) => "text".to_owned(),
            Tok::Open => "{{".to_owned(),
            Tok::Close => "}}".to_owned(),
            Tok::Space => "a space".to_owned(),
            Tok::Dot => ".".to_owned(),
            Tok::Ident(n) => format!("{n:?}"),
            Tok::Field(n) => format!(".{n}"),
            Tok::Variable(n) => n.clone(),
            Tok::Literal(_) => "a literal".to_owned(),
            Tok::Pipe => "|".to_owned(),
            Tok::Comma => ",".to_owned(),
            Tok::OpenParen => "(".to_owned(),
            Tok::CloseParen => ")".to_owned(),
            Tok::Assign => "=".to_owned(),
            Tok::Declare => ":=".to_owned(),
            Tok::End => "the end of the text".to_owned(),
        };
        self.fail(token.at, format!("unexpected {what} in {context}"))
    }

    fn enter(&mut self, at: usize) -> Parse<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return self.fail(at, format!("nested deeper than {MAX_NESTING} levels"));
        }
        Ok(())
    }

    /// Nodes up to `end`, `else` or the end of the text.
    fn list(&mut self) -> Parse<(Vec<Node>, Option<Ending>)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.tok {
                Tok::End => return Ok((nodes, None)),
                Tok::Text(text) => nodes.push(Node::Text(text)),
                Tok::Open => {
                    if let Some(ending) = self.action(token.at, &mut nodes)? {
                        return Ok((nodes, Some(ending)));
                    }
                }
                _ => return self.unexpected(&token, "the text"),
            }
        }
    }

    fn action(&mut self, at: usize, nodes: &mut Vec<Node>) -> Parse<Option<Ending>> {
        self.skip_space();
        let word = match &self.peek().tok {
            Tok::Ident(w) if KEYWORDS.contains(&w.as_str()) => w.clone(),
            _ => {
                let pipe = self.pipeline("a command", &Tok::Close)?;
                nodes.push(Node::Action(pipe));
                return Ok(None);
            }
        };
        self.next += 1;
        match word.as_str() {
            "end" => {
                self.close("end")?;
                return Ok(Some(Ending { at, otherwise: None }));
            }
            "else" => {
                self.skip_space();
                let otherwise = match &self.peek().tok {
                    Tok::Ident(w) if w == "if" => Else::If,
                    Tok::Ident(w) if w == "with" => Else::With,
                    _ => {
                        self.close("else")?;
                        return Ok(Some(Ending { at, otherwise: Some(Else::Plain) }));
                    }
                };
                self.next += 1;
                return Ok(Some(Ending { at, otherwise: Some(otherwise) }));
            }
            "if" => nodes.push(Node::If(self.branch("if", at)?)),
            "with" => nodes.push(Node::With(self.branch("with", at)?)),
            "range" => nodes.push(Node::Range(self.branch("range", at)?)),
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail(at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(&word)?;
                nodes.push(if word == "break" { Node::Break } else { Node::Continue });
            }
            "define" => self.define(at)?,
            "template" => {
                let name = self.template_name("template")?;
                let pipe = self.optional_pipeline("template")?;
                nodes.push(Node::Template { at, name, pipe });
            }
            _ => {
                let name = self.template_name("block")?;
                let pipe = self.pipeline("block", &Tok::Close)?;
                self.body(&name, at)?;
                nodes.push(Node::Template { at, name, pipe: Some(pipe) });
            }
        }
        Ok(None)
    }

    fn close(&mut self, context: &str) -> Parse<()> {
        self.skip_space();
        let token = self.take();
        if token.tok == Tok::Close { Ok(()) } else { self.unexpected(&token, context) }
    }

    fn template_name(&mut self, context: &str) -> Parse<String> {
        self.skip_space();
        let token = self.take();
        match &token.tok {
            Tok::Literal(Value::Str(name)) => Ok(name.to_string()),
            _ => self.fail(token.at, format!("{context} needs a quoted name here")),
        }
    }

    fn optional_pipeline(&mut self, context: &str) -> Parse<Option<Pipe>> {
        self.skip_space();
        if self.peek().tok == Tok::Close {
            self.next += 1;
            return Ok(None);
        }
        self.pipeline(context, &Tok::Close).map(Some)
    }

    fn define(&mut self, at: usize) -> Parse<()> {
        if self.depth > 0 {
            return self.fail(at, "{{define}} belongs to the top level, not into another block");
        }
        let name = self.template_name("define")?;
        self.close("define")?;
        self.body(&name, at)
    }

    /// The body of a `define` or `block`, which sees no variable but `$`.
    fn body(&mut self, name: &str, at: usize) -> Parse<()> {
        self.enter(at)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, ending) = self.list()?;
        self.variables = outer;
        self.loops = loops;
        self.depth -= 1;
        match ending {
            Some(Ending { otherwise: None, .. }) => {}
            Some(ending) => return self.fail(ending.at, "{{else}} outside if, with and range"),
            None => {
                return self.fail(at, format!("the template {name:?} is not closed: {{{{end}}}} is missing"));
            }
        }
        let empty = nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
        // As in Go: a body without content does not replace one that has some.
        if !(empty && self.defined.contains_key(name)) {
            let body = Body { source: Arc::clone(&self.source), nodes };
            self.defined.insert(name.to_owned(), Arc::new(body));
        }
        Ok(())
    }

    fn branch(&mut self, word: &'static str, at: usize) -> Parse<Branch> {
        self.enter(at)?;
        let scope = self.variables.len();
        let pipe = self.pipeline(word, &Tok::Close)?;
        self.loops += usize::from(word == "range");
        let (then, ending) = self.list()?;
        self.loops -= usize::from(word == "range");
        let Some(ending) = ending else {
            return self.fail(at, format!("{{{{{word}}}}} is not closed: {{{{end}}}} is missing"));
        };
        let otherwise = match ending.otherwise {
            None => Vec::new(),
            Some(Else::If) if word == "if" => vec![Node::If(self.branch("if", ending.at)?)],
            Some(Else::With) if word == "with" => vec![Node::With(self.branch("with", ending.at)?)],
            Some(Else::If | Else::With) => {
                return self.fail(ending.at, format!("this else does not belong to {{{{{word}}}}}"));
            }
            Some(Else::Plain) => {
                let (nodes, last) = self.list()?;
                match last {
                    Some(Ending { otherwise: None, .. }) => nodes,
                    Some(last) => return self.fail(last.at, "a second {{else}}: expected {{end}}"),
                    None => return self.fail(ending.at, "{{else}} is not closed: {{end}} is missing"),
                }
            }
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch { pipe, then, otherwise })
    }

    /// A pipeline with its declarations, up to and with `end`.
    fn pipeline(&mut self, context: &str, end: &Tok) -> Parse<Pipe> {
        self.skip_space();
        let at = self.peek().at;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            if token.tok == *end {
                self.next += 1;
                break;
            }
            if token.tok == Tok::Pipe {
                return self.fail(token.at, format!("missing command before | in {context}"));
            }
            let command = self.command(context, end)?;
            if let Some(first) = command.args.first()
                && !commands.is_empty()
                && matches!(first.kind, ArgKind::Literal(_) | ArgKind::Dot | ArgKind::Nil)
            {
                return self.fail(first.at, "only a function, method or field can take what a pipe hands on");
            }
            commands.push(command);
        }
        if commands.is_empty() {
            return self.fail(at, format!("missing value for {context}"));
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { at, variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and in `range` also `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Parse<(Vec<String>, bool)> {
        let start = self.next;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let token = self.take();
            let Tok::Variable(name) = token.tok else { break };
            let at = token.at;
            names.push(name.clone());
            self.skip_space();
            match self.take().tok {
                Tok::Declare => return Ok((names, false)),
                Tok::Assign => {
                    for name in &names {
                        self.known(name, at)?;
                    }
                    return Ok((names, true));
                }
                Tok::Comma if context == "range" && names.len() < 2 => {}
                Tok::Comma => return self.fail(at, format!("too many declarations in {context}")),
                _ => break,
            }
        }
        if names.len() > 1 {
            return self.fail(self.tokens[start].at, "range takes one or two variables and then :=");
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str, at: usize) -> Parse<()> {
        if self.variables.iter().any(|v| v == name) {
            return Ok(());
        }
        self.fail(at, format!("undefined variable {name:?}"))
    }

    /// Operands up to a pipe or the end of the pipeline.
    fn command(&mut self, context: &str, end: &Tok) -> Parse<Command> {
        let mut args = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            if token.tok == *end {
                break;
            }
            if token.tok == Tok::Pipe {
                self.next += 1;
                self.skip_space();
                if self.peek().tok == *end {
                    return self.fail(token.at, format!("missing command after | in {context}"));
                }
                break;
            }
            args.push(self.operand(context)?);
            let after = self.peek();
            if !(matches!(after.tok, Tok::Space | Tok::Pipe) || after.tok == *end) {
                return self.unexpected(&after.clone(), "an operand");
            }
        }
        Ok(Command { args })
    }

    fn operand(&mut self, context: &str) -> Parse<Arg> {
        let token = self.take();
        let at = token.at;
        let kind = match token.tok {
            Tok::Dot => ArgKind::Dot,
            Tok::Literal(value) => ArgKind::Literal(value),
            Tok::Field(name) => {
                let mut names = vec![name];
                names.extend(self.fields());
                return Ok(Arg { at, kind: ArgKind::Field(names) });
            }
            Tok::Variable(name) => {
                self.known(&name, at)?;
                let fields = self.fields();
                return Ok(Arg { at, kind: ArgKind::Variable(name, fields) });
            }
            Tok::Ident(name) => match name.as_str() {
                "nil" => ArgKind::Nil,
                "true" => ArgKind::Literal(Value::Bool(true)),
                "false" => ArgKind::Literal(Value::Bool(false)),
                _ if KEYWORDS.contains(&name.as_str()) => {
                    return self.fail(at, format!("unexpected {{{{{name}}}}} in {context}"));
                }
                _ if !self.funcs.contains(&name) => {
                    return self.fail(at, format!("function {name:?} not defined"));
                }
                _ => ArgKind::Function(name),
            },
            Tok::OpenParen => {
                self.enter(at)?;
                let pipe = self.pipeline("a parenthesized pipeline", &Tok::CloseParen)?;
                self.depth -= 1;
                ArgKind::Pipe(Box::new(pipe))
            }
            _ => return self.unexpected(&token, context),
        };
        let fields = self.fields();
        if fields.is_empty() {
            return Ok(Arg { at, kind });
        }
        if matches!(kind, ArgKind::Literal(_) | ArgKind::Nil | ArgKind::Dot) {
            return self.fail(at, "this has no fields");
        }
        Ok(Arg { at, kind: ArgKind::Chain(Box::new(Arg { at, kind }), fields) })
    }

    /// The `.Field`s that follow without a space.
    fn fields(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Tok::Field(name) = &self.peek().tok {
            names.push(name.clone());
            self.next += 1;
        }
        names
    }
}
