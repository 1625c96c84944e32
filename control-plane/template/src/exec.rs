//! The evaluator: walks the tree, keeps variables, counts what it uses.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use crate::{
    ast::{Arg, ArgKind, Body, Branch, Command, Node, Pipe},
    context::{CallError, Ctx, Host},
    fields,
    fmt::print_value,
    funcs::FuncSet,
    html::{Escaper, Written},
    out::{Limits, Out, Overflow},
    parse,
    template::{ExecError, MissingKey, Mode},
    value::Value,
};

pub(crate) type Definitions = BTreeMap<String, Arc<Body>>;

/// One execution.
pub(crate) struct Run<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) funcs: &'a FuncSet,
    pub(crate) defined: Arc<Definitions>,
    pub(crate) limits: Limits,
    pub(crate) missing: MissingKey,
    pub(crate) root: Value,
    steps: u64,
    depth: usize,
    mode: Mode,
    escaper: Escaper,
    out: Out,
}

/// Why execution stopped: the node, and a sentence.
pub(crate) struct Stop {
    body: Arc<Body>,
    at: usize,
    message: String,
}

impl Stop {
    pub(crate) fn into_error(self) -> ExecError {
        ExecError::at(&self.body.source, self.at, self.message)
    }
}

type Eval<T> = Result<T, Stop>;

#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One body being executed: its variables, innermost last.
struct Frame<'b> {
    body: &'b Arc<Body>,
    variables: Vec<(Cow<'b, str>, Value)>,
}

impl Frame<'_> {
    fn stop<T>(&self, at: usize, message: impl Into<String>) -> Eval<T> {
        Err(Stop { body: Arc::clone(self.body), at, message: message.into() })
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        host: &'a dyn Host,
        funcs: &'a FuncSet,
        defined: Arc<Definitions>,
        options: (Limits, MissingKey, Mode),
        root: Value,
    ) -> Self {
        let (limits, missing, mode) = options;
        Run {
            host,
            funcs,
            defined,
            limits,
            missing,
            root,
            steps: 0,
            depth: 0,
            mode,
            escaper: Escaper::default(),
            out: Out::new(limits.output_bytes),
        }
    }

    /// Executes a whole template; variables beyond `$` come in `given`.
    pub(crate) fn execute(
        mut self,
        body: &Arc<Body>,
        data: &Value,
        given: &[(&str, Value)],
    ) -> Result<String, ExecError> {
        let given = given.iter().map(|(n, v)| (Cow::Borrowed(*n), v.clone()));
        self.body(body, data, given).map_err(Stop::into_error)?;
        Ok(self.out.into_string())
    }

    fn body<'b>(
        &mut self,
        body: &'b Arc<Body>,
        data: &Value,
        given: impl Iterator<Item = (Cow<'b, str>, Value)>,
    ) -> Eval<()> {
        let mut variables = vec![(Cow::Borrowed("$"), data.clone())];
        variables.extend(given);
        let mut frame = Frame { body, variables };
        self.nodes(&mut frame, data, &body.nodes)?;
        Ok(())
    }

    /// What `f` writes, apart from the output so far and as plain text.
    fn captured(&mut self, f: impl FnOnce(&mut Self) -> Eval<()>) -> Result<String, CallError> {
        let outer = std::mem::replace(&mut self.out, Out::new(self.limits.output_bytes));
        let mode = std::mem::replace(&mut self.mode, Mode::Text);
        let depth = self.depth;
        let result = if depth >= self.limits.depth {
            Err(CallError("exceeded the maximum template depth".into()))
        } else {
            self.depth += 1;
            f(self).map_err(|stop| CallError(stop.into_error().to_string()))
        };
        self.depth = depth;
        self.mode = mode;
        let inner = std::mem::replace(&mut self.out, outer);
        result.map(|()| inner.into_string())
    }

    pub(crate) fn render_named(&mut self, name: &str, data: &Value) -> Result<String, CallError> {
        let body = self.defined.get(name).map(Arc::clone);
        let body = body.ok_or_else(|| CallError(format!("template {name:?} not defined")))?;
        self.captured(|run| run.body(&body, data, std::iter::empty()))
    }

    pub(crate) fn expand_text(&mut self, text: &str) -> Result<String, CallError> {
        self.charge(text.len()).map_err(|e| CallError(e.to_owned()))?;
        let parsed = parse::parse("", text, self.funcs, &[]).map_err(|e| CallError(e.to_string()))?;
        let mut all = (*self.defined).clone();
        all.extend(parsed.defined);
        let outer = std::mem::replace(&mut self.defined, Arc::new(all));
        let data = self.root.clone();
        let result = self.captured(|run| run.body(&parsed.root, &data, std::iter::empty()));
        self.defined = outer;
        result
    }

    /// Counts one step, and one more for every 64 bytes handled.
    fn charge(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.steps += 1 + (bytes / 64) as u64;
        if self.steps > self.limits.steps { Err("the template takes too many steps") } else { Ok(()) }
    }

    fn step(&mut self, frame: &Frame<'_>, at: usize) -> Eval<()> {
        self.charge(0).or_else(|message| frame.stop(at, message))
    }

    fn deeper<T>(
        &mut self,
        frame: &mut Frame<'_>,
        at: usize,
        f: impl FnOnce(&mut Self, &mut Frame<'_>) -> Eval<T>,
    ) -> Eval<T> {
        if self.depth >= self.limits.depth {
            return frame.stop(at, "exceeded the maximum template depth");
        }
        self.depth += 1;
        let result = f(self, frame);
        self.depth -= 1;
        result
    }

    fn nodes(&mut self, frame: &mut Frame<'_>, dot: &Value, nodes: &[Node]) -> Eval<Flow> {
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.step(frame, 0)?;
                    if self.mode == Mode::Html {
                        self.escaper.text(text);
                    }
                    self.write(frame, 0, text)?;
                }
                Node::Action(pipe) => {
                    let value = self.pipe(frame, dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.print(frame, pipe.at, &value)?;
                    }
                }
                Node::If(branch) => {
                    let flow = self.choose(frame, dot, branch, false)?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::With(branch) => {
                    let flow = self.choose(frame, dot, branch, true)?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Range(branch) => {
                    let flow =
                        self.deeper(frame, branch.pipe.at, |run, frame| run.range(frame, dot, branch))?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Template { at, name, pipe } => {
                    self.call_template(frame, dot, *at, name, pipe.as_ref())?
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn call_template(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        at: usize,
        name: &str,
        pipe: Option<&Pipe>,
    ) -> Eval<()> {
        let Some(body) = self.defined.get(name).map(Arc::clone) else {
            return frame.stop(at, format!("template {name:?} not defined"));
        };
        let data = match pipe {
            Some(pipe) => self.pipe(frame, dot, pipe)?,
            None => Value::Nil,
        };
        self.deeper(frame, at, |run, _| run.body(&body, &data, std::iter::empty()))
    }

    fn write(&mut self, frame: &Frame<'_>, at: usize, text: &str) -> Eval<()> {
        self.out.push(text).or_else(|Overflow| {
            frame.stop(at, format!("the output is larger than {} bytes", self.limits.output_bytes))
        })
    }

    fn print(&mut self, frame: &Frame<'_>, at: usize, value: &Value) -> Eval<()> {
        let mut text = Out::new(self.out.room());
        let written = match (self.mode, value.base()) {
            (Mode::Html, _) => match self.escaper.value(value, &mut text) {
                Ok(Written) => Ok(()),
                Err(overflow) => Err(overflow),
            },
            (Mode::Text, Value::Nil) => text.push("<no value>"),
            (Mode::Text, _) => print_value(&mut text, value),
        };
        if written.is_err() {
            return frame.stop(at, format!("the output is larger than {} bytes", self.limits.output_bytes));
        }
        self.charge(text.len()).or_else(|m| frame.stop(at, m))?;
        self.write(frame, at, &text.into_string())
    }

    fn choose(&mut self, frame: &mut Frame<'_>, dot: &Value, branch: &Branch, with: bool) -> Eval<Flow> {
        self.deeper(frame, branch.pipe.at, |run, frame| {
            let scope = frame.variables.len();
            let value = run.pipe(frame, dot, &branch.pipe)?;
            let flow = if value.truth() {
                let dot = if with { &value } else { dot };
                run.nodes(frame, dot, &branch.then)
            } else {
                run.nodes(frame, dot, &branch.otherwise)
            }?;
            frame.variables.truncate(scope);
            Ok(flow)
        })
    }

    fn range(&mut self, frame: &mut Frame<'_>, dot: &Value, branch: &Branch) -> Eval<Flow> {
        let scope = frame.variables.len();
        let at = branch.pipe.at;
        let value = self.pipe(frame, dot, &branch.pipe)?;
        let inner = frame.variables.len();
        let items: Box<dyn Iterator<Item = (Value, Value)> + '_> = match value.base() {
            Value::Nil => Box::new(std::iter::empty()),
            Value::List(list) => Box::new((0i64..).map(Value::Int).zip(list.items().iter().cloned())),
            Value::Map(map) => {
                Box::new(map.entries().iter().map(|(k, v)| (Value::str(k.as_str()), v.clone())))
            }
            Value::Int(n) => Box::new((0..*n).map(|i| (Value::Int(i), Value::Int(i)))),
            other => return frame.stop(at, format!("range can't iterate over {}", other.type_name())),
        };
        let mut any = false;
        for (key, item) in items {
            any = true;
            self.step(frame, at)?;
            self.bind_item(frame, branch, &key, &item)?;
            let flow = self.nodes(frame, &item, &branch.then)?;
            frame.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = if any { Flow::Next } else { self.nodes(frame, dot, &branch.otherwise)? };
        frame.variables.truncate(scope);
        Ok(flow)
    }

    fn bind_item(&self, frame: &mut Frame<'_>, branch: &Branch, key: &Value, item: &Value) -> Eval<()> {
        let values = match branch.pipe.variables.len() {
            2 => vec![key.clone(), item.clone()],
            _ => vec![item.clone()],
        };
        for (name, value) in branch.pipe.variables.iter().zip(values) {
            set(frame, branch.pipe.at, name, value)?;
        }
        Ok(())
    }

    fn pipe(&mut self, frame: &mut Frame<'_>, dot: &Value, pipe: &Pipe) -> Eval<Value> {
        self.step(frame, pipe.at)?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(frame, dot, command, value.take())?);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                set(frame, pipe.at, name, value.clone())?;
            } else {
                frame.variables.push((Cow::Owned(name.clone()), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        command: &Command,
        last: Option<Value>,
    ) -> Eval<Value> {
        let Some((first, rest)) = command.args.split_first() else {
            return frame.stop(0, "an empty command");
        };
        match &first.kind {
            ArgKind::Function(name) => return self.function(frame, dot, (first.at, name), rest, last),
            ArgKind::Field(names) => {
                let args = self.args(frame, dot, rest, last)?;
                return self.chain(frame, first.at, dot.clone(), names, &args);
            }
            ArgKind::Variable(name, names) if !names.is_empty() => {
                let receiver = variable(frame, first.at, name)?;
                let args = self.args(frame, dot, rest, last)?;
                return self.chain(frame, first.at, receiver, names, &args);
            }
            ArgKind::Chain(base, names) => {
                let receiver = self.operand(frame, dot, base)?;
                let args = self.args(frame, dot, rest, last)?;
                return self.chain(frame, first.at, receiver, names, &args);
            }
            _ => {}
        }
        if !rest.is_empty() || last.is_some() {
            return frame.stop(first.at, "can't give an argument to what is not a function");
        }
        if matches!(first.kind, ArgKind::Nil) {
            return frame.stop(first.at, "nil is not a command");
        }
        self.operand(frame, dot, first)
    }

    fn args(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        args: &[Arg],
        last: Option<Value>,
    ) -> Eval<Vec<Value>> {
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            values.push(self.operand(frame, dot, arg)?);
        }
        values.extend(last);
        Ok(values)
    }

    fn operand(&mut self, frame: &mut Frame<'_>, dot: &Value, arg: &Arg) -> Eval<Value> {
        self.step(frame, arg.at)?;
        match &arg.kind {
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Nil => Ok(Value::Nil),
            ArgKind::Literal(value) => Ok(value.clone()),
            ArgKind::Field(names) => self.chain(frame, arg.at, dot.clone(), names, &[]),
            ArgKind::Variable(name, names) => {
                let receiver = variable(frame, arg.at, name)?;
                self.chain(frame, arg.at, receiver, names, &[])
            }
            ArgKind::Chain(base, names) => {
                let receiver = self.operand(frame, dot, base)?;
                self.chain(frame, arg.at, receiver, names, &[])
            }
            ArgKind::Function(name) => self.function(frame, dot, (arg.at, name), &[], None),
            ArgKind::Pipe(pipe) => self.deeper(frame, arg.at, |run, frame| {
                let scope = frame.variables.len();
                let value = run.pipe(frame, dot, pipe);
                frame.variables.truncate(scope);
                value
            }),
        }
    }

    /// `.A.B.C` on a value; the arguments belong to the last name.
    fn chain(
        &mut self,
        frame: &Frame<'_>,
        at: usize,
        receiver: Value,
        names: &[String],
        args: &[Value],
    ) -> Eval<Value> {
        let mut value = receiver;
        for (i, name) in names.iter().enumerate() {
            let args = if i + 1 == names.len() { args } else { &[] };
            value = fields::field(&value, name, args, self.missing).or_else(|e| frame.stop(at, e.0))?;
        }
        Ok(value)
    }

    fn function(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        (at, name): (usize, &str),
        args: &[Arg],
        last: Option<Value>,
    ) -> Eval<Value> {
        if name == "and" || name == "or" {
            return self.short_circuit(frame, dot, (at, name), args, last);
        }
        let values = self.args(frame, dot, args, last)?;
        let Some(func) = self.funcs.get(name) else {
            return frame.stop(at, format!("function {name:?} not defined"));
        };
        let read: usize = values.iter().map(size).sum();
        self.charge(read).or_else(|m| frame.stop(at, m))?;
        let result = func(&mut Ctx { run: self }, &values);
        let value = result.or_else(|e| frame.stop(at, format!("error calling {name}: {e}")))?;
        self.charge(size(&value)).or_else(|m| frame.stop(at, m))?;
        if size(&value) > self.limits.output_bytes {
            return frame.stop(at, format!("{name} gives more than {} bytes", self.limits.output_bytes));
        }
        Ok(value)
    }

    fn short_circuit(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        (at, name): (usize, &str),
        args: &[Arg],
        last: Option<Value>,
    ) -> Eval<Value> {
        let decided = |value: &Value| value.truth() == (name == "or");
        let mut value = None;
        for arg in args {
            let next = self.operand(frame, dot, arg)?;
            if decided(&next) {
                return Ok(next);
            }
            value = Some(next);
        }
        last.or(value)
            .map_or_else(|| frame.stop(at, format!("wrong number of args for {name}: want at least 1")), Ok)
    }
}

/// The bytes that a value stands for in the count of steps: its own, not those of its children.
fn size(value: &Value) -> usize {
    match value.base() {
        Value::Str(t) | Value::Safe(_, t) => t.len(),
        Value::List(list) => list.items().len() * 8,
        Value::Map(map) => map.entries().len() * 16,
        _ => 0,
    }
}

fn variable(frame: &Frame<'_>, at: usize, name: &str) -> Eval<Value> {
    let found = frame.variables.iter().rev().find(|(n, _)| n == name);
    found.map_or_else(|| frame.stop(at, format!("undefined variable {name:?}")), |(_, v)| Ok(v.clone()))
}

fn set(frame: &mut Frame<'_>, at: usize, name: &str, value: Value) -> Eval<()> {
    match frame.variables.iter_mut().rev().find(|(n, _)| n == name) {
        Some((_, slot)) => {
            *slot = value;
            Ok(())
        }
        None => frame.stop(at, format!("undefined variable {name:?}")),
    }
}
