//! A pickle machine that can make tensors and nothing else.
//!
//! It knows the opcodes that `torch.save` writes for a state dict. A global that is not a tensor type or one of the
//! three functions that rebuild tensors is refused by name; no code of a file ever runs. Objects live in an arena, so
//! that a file can neither build a structure that takes exponential time to walk nor one that overflows the stack.
//! Values are counted as they are made: a pickle makes about as many as it has bytes, and never more than a limit.

use std::collections::HashMap;
use std::rc::Rc;

use super::Dtype;

/// The most values that are made of one pickle; a tensor takes about 30, its places in the memo included.
const MAX_VALUES: usize = 1 << 23;

/// The most axes of a tensor.
const MAX_AXES: usize = 16;
/// What is wrong with a pickle that copies without end.
const TOO_MANY: &str = "makes more values than a pickle of its size that torch.save wrote; it was not read";

/// A value of the machine.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    /// A list, tuple or dictionary: its place in the arena.
    Object(usize),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
}

/// What a file may name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    StorageType(Dtype),
}

/// A block of numbers kept elsewhere in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: Rc<str>,
    pub dtype: Dtype,
    pub n_numbers: usize,
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub storage: Rc<Storage>,
    /// The first number's index.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Numbers from one index to the next along each axis.
    pub strides: Vec<usize>,
}

/// A list, tuple or dictionary.
#[derive(Debug)]
enum Object {
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

/// The machine: a stack, marks in it, a memo, and the objects.
#[derive(Debug, Default)]
pub(super) struct Machine {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    objects: Vec<Object>,
    /// How many more values may be made.
    values_left: usize,
}

impl Machine {
    /// Runs one pickle; returns its value and how many bytes it took.
    ///
    /// Fails with the end of a sentence.
    pub fn run(&mut self, bytes: &[u8]) -> Result<(Value, usize), String> {
        let mut input = Input { bytes, at: 0 };
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.values_left = bytes.len().saturating_mul(2).min(MAX_VALUES);
        loop {
            let opcode = input.byte()?;
            if opcode == b'.' {
                return Ok((self.pop()?, input.at));
            }
            self.step(opcode, &mut input)?;
        }
    }

    /// The entries of a dictionary.
    pub fn dict(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Object(index) => match self.objects.get(*index) {
                Some(Object::Dict(entries)) => Some(entries),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn list(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Object(index) => match self.objects.get(*index) {
                Some(Object::List(items)) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    fn step(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), String> {
        match opcode {
            0x80 => input.byte().map(|_| ()),
            0x95 => input.number(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                self.count(1)
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.since_mark().map(|_| ()),
            b'2' => {
                let top = self.stack.last().cloned().ok_or("takes from an empty stack")?;
                self.push(top)
            }
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'I' | b'L' | b'G' | b'F' => self.number(opcode, input),
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | b'V' => self.text(opcode, input),
            b')' | b't' | 0x85 | 0x86 | 0x87 | b']' | b'l' | b'}' | b'd' => self.collection(opcode),
            b'a' | b'e' | b's' | b'u' => self.fill(opcode),
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memo(opcode, input),
            b'c' => {
                let module = input.line()?;
                let name = input.line()?;
                self.push(Value::Global(global(module, name)?))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (module, name) {
                    (Value::Text(module), Value::Text(name)) => self.push(Value::Global(global(&module, &name)?)),
                    _ => Err("names something by what is not text".to_owned()),
                }
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'Q' => self.persistent(),
            _ => Err(format!("uses the pickle opcode 0x{opcode:02x}, which no file of tensors needs")),
        }
    }

    fn number(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), String> {
        let value = match opcode {
            b'J' => Value::Int(i64::from(input.number(4)? as u32 as i32)),
            b'K' => Value::Int(input.number(1)? as i64),
            b'M' => Value::Int(input.number(2)? as i64),
            b'I' => match input.line()? {
                "00" | "01" => Value::Bool,
                digits => Value::Int(digits.parse().map_err(|_| "has a number that is none")?),
            },
            b'L' => Value::Int(input.line()?.trim_end_matches('L').parse().map_err(|_| "has a number beyond 64 bits")?),
            b'G' => input.number(8).map(|_| Value::Float)?,
            b'F' => input.line().map(|_| Value::Float)?,
            _ => {
                let n_bytes = input.number(if opcode == 0x8a { 1 } else { 4 })? as usize;
                let bytes = input.take(n_bytes)?;
                if n_bytes > 8 {
                    return Err(format!("has a number of {n_bytes} bytes"));
                }
                // two's complement, least significant byte first
                let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
                let start = if negative { -1 } else { 0 };
                Value::Int(bytes.iter().rev().fold(start, |number: i64, byte| number << 8 | i64::from(*byte)))
            }
        };
        self.push(value)
    }

    fn text(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), String> {
        if opcode == b'V' {
            let line = Rc::from(input.line()?);
            return self.push(Value::Text(line));
        }
        let width = match opcode {
            0x8c | b'U' | b'C' => 1,
            0x8d | 0x8e => 8,
            _ => 4,
        };
        let n_bytes = usize::try_from(input.number(width)?).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(input.take(n_bytes)?);
        self.push(Value::Text(Rc::from(text.as_ref())))
    }

    fn collection(&mut self, opcode: u8) -> Result<(), String> {
        let object = match opcode {
            b')' | b']' => Object::List(Vec::new()),
            b'}' => Object::Dict(Vec::new()),
            b't' | b'l' => Object::List(self.since_mark()?),
            b'd' => Object::Dict(pairs(self.since_mark()?)?),
            _ => {
                let n_items = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(n_items).ok_or("takes from an empty stack")?;
                Object::List(self.stack.split_off(start))
            }
        };
        self.new_object(object)
    }

    /// Adds to the list or dictionary on top of the stack.
    fn fill(&mut self, opcode: u8) -> Result<(), String> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.since_mark()?,
        };
        let target = match self.stack.last() {
            Some(Value::Object(index)) => self.objects.get_mut(*index),
            _ => None,
        };
        match (opcode, target) {
            (b'a' | b'e', Some(Object::List(list))) => list.extend(items),
            (b's' | b'u', Some(Object::Dict(dict))) => dict.extend(pairs(items)?),
            _ => return Err("fills what is no list or dictionary".to_owned()),
        }
        Ok(())
    }

    fn memo(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), String> {
        let index = match opcode {
            b'q' | b'h' => input.number(1)?,
            b'r' | b'j' => input.number(4)?,
            0x94 => self.memo.len() as u64,
            _ => input.line()?.parse().map_err(|_| "has a memo index that is no number")?,
        };
        if matches!(opcode, b'h' | b'j' | b'g') {
            let value =
                self.memo.get(&index).cloned().ok_or_else(|| format!("recalls the memo {index}, which is empty"))?;
            return self.push(value);
        }
        let top = self.stack.last().cloned().ok_or("keeps from an empty stack")?;
        self.memo.insert(index, top);
        self.count(1)
    }

    /// Calls a global; only those that make tensors and dictionaries can be.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.list(&arguments).ok_or("calls with arguments that are no tuple")?;
        match function {
            Value::Global(Global::OrderedDict) => {
                let items = arguments.first().and_then(|items| self.list(items)).unwrap_or_default();
                let n_items = items.len();
                if n_items > self.values_left {
                    return Err(TOO_MANY.to_owned());
                }
                let pair = |item: &Value| match self.list(item) {
                    Some([key, value]) => Ok((key.clone(), value.clone())),
                    _ => Err("makes a dictionary of what are no pairs".to_owned()),
                };
                let entries = items.iter().map(pair).collect::<Result<_, _>>()?;
                self.count(n_items)?;
                self.new_object(Object::Dict(entries))
            }
            Value::Global(Global::RebuildTensor) => {
                let view = self.view(arguments)?;
                self.count(view.shape.len() + view.strides.len())?;
                self.push(Value::Tensor(Rc::new(view)))
            }
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(Value::Tensor(view)) => self.push(Value::Tensor(Rc::clone(view))),
                _ => Err("makes a parameter of what is no tensor".to_owned()),
            },
            // what it is made of is a tuple already
            Value::Global(Global::Size) => match arguments.first() {
                Some(sizes) if self.list(sizes).is_some() => self.push(sizes.clone()),
                _ => Err("makes a shape of what is no tuple".to_owned()),
            },
            _ => Err("calls what is no function for tensors".to_owned()),
        }
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, …)`.
    fn view(&self, arguments: &[Value]) -> Result<View, String> {
        let [Value::Storage(storage), Value::Int(offset), size, strides, ..] = arguments else {
            return Err("rebuilds a tensor from other things than storage, offset, size and stride".to_owned());
        };
        let numbers = |value: &Value| -> Result<Vec<usize>, String> {
            let items = self.list(value).ok_or("has a tensor whose shape is no tuple")?;
            if items.len() > MAX_AXES {
                return Err(format!("has a tensor of {} axes; {MAX_AXES} are possible", items.len()));
            }
            items
                .iter()
                .map(|item| match item {
                    Value::Int(number) => {
                        usize::try_from(*number).map_err(|_| format!("has a tensor of size {number}"))
                    }
                    _ => Err("has a tensor whose shape is not made of numbers".to_owned()),
                })
                .collect()
        };
        let (shape, strides) = (numbers(size)?, numbers(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("has a tensor of {} axes with {} strides", shape.len(), strides.len()));
        }
        let offset = usize::try_from(*offset).map_err(|_| format!("has a tensor at place {offset}"))?;
        Ok(View { storage: Rc::clone(storage), offset, shape, strides })
    }

    /// Gives state to an object. A dictionary's (`_metadata` of a state dict) is dropped; nothing else may have one.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        match self.stack.last() {
            Some(top) if self.dict(top).is_some() => Ok(()),
            _ => Err("gives state to what is no dictionary".to_owned()),
        }
    }

    /// `('storage', type, key, location, n_numbers)`.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let storage = match self.list(&id) {
            Some(
                [
                    Value::Text(kind),
                    Value::Global(Global::StorageType(dtype)),
                    Value::Text(key),
                    _,
                    Value::Int(n),
                    rest @ ..,
                ],
            ) if kind.as_ref() == "storage" && rest.iter().all(|view| matches!(view, Value::None)) => {
                let n_numbers = usize::try_from(*n).map_err(|_| format!("has a storage of {n} numbers"))?;
                Storage { key: Rc::clone(key), dtype: *dtype, n_numbers }
            }
            _ => return Err("refers to something outside that is no storage of numbers".to_owned()),
        };
        self.push(Value::Storage(Rc::new(storage)))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.stack.push(value);
        self.count(1)
    }

    /// Takes `n` values off those that may still be made.
    fn count(&mut self, n: usize) -> Result<(), String> {
        self.values_left = self.values_left.checked_sub(n).ok_or(TOO_MANY)?;
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "takes from an empty stack".to_owned())
    }

    fn new_object(&mut self, object: Object) -> Result<(), String> {
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or("has no mark where it needs one")?;
        Ok(self.stack.split_off(mark))
    }
}

fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>, String> {
    if !items.len().is_multiple_of(2) {
        return Err("has a dictionary with a key but no value".to_owned());
    }
    let mut items = items.into_iter();
    Ok(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
}

/// What a file may name; everything else is refused by its name.
fn global(module: &str, name: &str) -> Result<Global, String> {
    let other = |name, bits| Global::StorageType(Dtype::Other { name, bits });
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "Size") => Global::Size,
        ("torch", "FloatStorage") => Global::StorageType(Dtype::F32),
        ("torch", "HalfStorage") => Global::StorageType(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::StorageType(Dtype::BF16),
        ("torch", "DoubleStorage") => Global::StorageType(Dtype::F64),
        ("torch", "LongStorage") => other("i64", 64),
        ("torch", "IntStorage") => other("i32", 32),
        ("torch", "ShortStorage") => other("i16", 16),
        ("torch", "CharStorage") => other("i8", 8),
        ("torch", "ByteStorage") => other("u8", 8),
        ("torch", "BoolStorage") => other("bool", 8),
        _ => {
            let name: String = format!("{module}.{name}").chars().take(120).collect();
            return Err(format!("asks for {name:?}; a file of weights may hold tensors only, so it was not read"));
        }
    })
}

/// Bytes being read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..n_bytes) else {
            return Err(format!("announces {n_bytes} bytes where {} follow", rest.len()));
        };
        self.at += n_bytes;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `n_bytes` bytes, up to 8.
    fn number(&mut self, n_bytes: usize) -> Result<u64, String> {
        Ok(self.take(n_bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Text up to a line break.
    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(4096).position(|byte| *byte == b'\n').ok_or("has a line without an end")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "has a line that is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Machine::default().run(bytes).unwrap_err()
    }

    #[test]
    fn a_pickle_that_calls_a_shell_is_refused_by_name() {
        let text = refusal(b"cposix\nsystem\n(S'echo'\ntR.");
        assert!(text.contains("asks for \"posix.system\""), "{text}");
        let text = refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.");
        assert!(text.contains("asks for \"builtins.eval\""), "{text}");
    }

    #[test]
    fn lying_lengths_empty_stacks_and_strange_opcodes_are_refused() {
        for bytes in [
            &b""[..],
            b".",
            b"R.",
            b"t.",
            b"0",
            b"X\xff\xff\xff\xffa",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"h\x05.",
            b"}K\x01u.",
            b"(K\x01d.",
            b"NNb.",
            b"\x8a\xff\x01",
            b"cA",
            b"K\x01Q.",
            b"\x87.",
            b"o",
            b"i",
            b"\x81",
        ] {
            refusal(bytes);
        }
    }

    #[test]
    fn a_memo_bomb_stays_small() {
        // Each level is a tuple of two references to the level before: 2^100000 if it were ever walked.
        let bomb = [&b")"[..], &b"2\x86".repeat(100_000), b"."].concat();
        let mut machine = Machine::default();
        let (value, _) = machine.run(&bomb).unwrap();
        assert_eq!(machine.list(&value).map(<[Value]>::len), Some(2));
        assert_eq!(machine.objects.len(), 100_001);
    }

    /// A list of 1,000 items in the memo, and `times` uses of it.
    fn used_again(items: &[u8], used: &[u8], times: usize) -> Vec<u8> {
        let head = b"\x80\x02ctorch\nSize\nq\x000ccollections\nOrderedDict\nq\x020(";
        [&head[..], &items.repeat(1_000), b"lq\x010(", &used.repeat(times), b"l."].concat()
    }

    #[test]
    fn a_pickle_makes_about_as_many_values_as_it_has_bytes_however_often_it_uses_a_list() {
        // torch.Size of the list shares it; what shares costs one value
        let bytes = used_again(b"N", b"h\x00h\x01\x85R", 8_000);
        let mut machine = Machine::default();
        let (value, _) = machine.run(&bytes).unwrap();
        assert_eq!(machine.list(&value).map(<[Value]>::len), Some(8_000));
        let held: usize = machine
            .objects
            .iter()
            .map(|object| match object {
                Object::List(items) => items.capacity(),
                Object::Dict(entries) => 2 * entries.capacity(),
            })
            .sum();
        assert!(held < 3 * bytes.len(), "{held} values of {} bytes", bytes.len());
        // OrderedDict copies: 1,000 entries each time
        assert!(Machine::default().run(&used_again(b"NN\x86", b"h\x02h\x01\x85R", 2)).is_ok());
        assert_eq!(refusal(&used_again(b"NN\x86", b"h\x02h\x01\x85R", 8_000)), TOO_MANY);
    }

    #[test]
    fn a_shape_of_thousands_of_axes_is_refused() {
        let view = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000NK\x01tQK\x00(";
        let bytes = [&view[..], &b"K\x01".repeat(5_000), b"t)tR."].concat();
        assert_eq!(refusal(&bytes), "has a tensor of 5000 axes; 16 are possible");
    }
}
