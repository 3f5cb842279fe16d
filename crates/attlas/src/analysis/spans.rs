//! Spans: keys under a name, such as a part that a caller names, the special tokens, a turn of a chat.

use std::ops::Range;

use super::Keys;
use crate::{Item, Kind, Layer, Token, TokenRole, Tokens};

/// Names of [`roles`] that are no turn of a chat, of what is no key, and of padding: a caller's span has another.
pub const ROLE_NAMES: [&str; 7] = ["special", "text", "patches", "silence", "padding", "sink", "nowhere"];

/// The longest name of a role that is read from a chat, in bytes, and the most tokens that spell it.
const LONGEST_ROLE: usize = 24;
const MOST_ROLE_TOKENS: usize = 8;

/// Roles that are known to be whole where nothing says that a name ends.
const ROLES: [&str; 6] = ["system", "user", "assistant", "model", "developer", "tool"];

/// Some keys of a map, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its name: `0:4`, `special`, `user 1`.
    pub name: String,
    /// From its first to its last position, counted from 0 with padding left out; `None` for keys that stand anywhere.
    pub range: Option<Range<usize>>,
    /// Its keys, padding counted.
    pub keys: Keys,
}

impl Span {
    /// The keys at some positions, counted from 0 with padding left out; `None` when there are fewer keys, or none is meant.
    pub fn of(name: impl Into<String>, range: Range<usize>, tokens: &Tokens, n_keys: usize) -> Option<Span> {
        let places = tokens.unpadded(n_keys);
        let places = places.get(range.clone()).filter(|places| !places.is_empty())?;
        let keys = Keys::new(n_keys, |key| places.binary_search(&key).is_ok());
        Some(Span { name: name.into(), range: Some(range), keys })
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.keys.within(&(0..usize::MAX)).len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key belongs to both.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.keys.within(&(0..usize::MAX)).iter().any(|key| other.keys.contains(*key))
    }
}

/// The spans that the keys of a layer have by their roles, those without a key left out: `special` and `text` tokens where
/// there are both, the `patches` of images, added `silence`, and the [`turns`] of a chat.
pub fn roles(item: &Item, layer: &Layer) -> Vec<Span> {
    let (tokens, n_keys) = (layer.key_tokens(item), layer.shape.n_keys);
    let role = |key: usize| tokens.tokens.get(key).map_or(TokenRole::Text, |token| token.role);
    let class = |name: &str, is_in: &dyn Fn(usize) -> bool| Span {
        name: name.into(),
        range: None,
        keys: Keys::new(n_keys, |key| role(key) != TokenRole::Padding && is_in(key)),
    };
    let mut spans = vec![class("special", &|key| role(key) == TokenRole::Special)];
    let images = layer.key_images(item);
    let is_patch = |key: usize| images.iter().any(|grid| grid.tokens().contains(&key));
    let patches = class("patches", &is_patch);
    // what an encoder of images reads is patches alone; between words they are no text
    let is_between = layer.kind == Kind::Decoder && !patches.is_empty();
    let text = class("text", &|key| role(key) == TokenRole::Text && !(is_between && is_patch(key)));
    spans.extend((!spans[0].is_empty() || is_between).then_some(text));
    spans.push(patches);
    if layer.kind != Kind::Decoder && layer.key_axis.is_none() {
        let silence = item.silence();
        spans.push(class("silence", &|key| silence.contains(&key)));
    }
    spans.extend(turns(tokens, n_keys));
    spans.retain(|span| !span.is_empty());
    spans
}

/// The turns of a chat, told by the tokens that its template puts before each: `system`, `user 1`, `assistant 1`, `user 2`.
///
/// A turn holds the tokens of text from its opening mark to the next one, the name of its role included. The marks
/// themselves, as all special tokens, belong to none: the first of them often is what every query looks at, which says nothing
/// of the turn. Known are marks that stand as tokens of their own, before the role's name (`<|im_start|>`,
/// `<|start_header_id|>`, `<start_of_turn>`, `<|start|>`, `<|start_of_role|>`) or in its place (`<|user|>`, `[INST]`).
pub fn turns(tokens: &Tokens, n_keys: usize) -> Vec<Span> {
    let all = &tokens.tokens[..n_keys.min(tokens.len())];
    let opens: Vec<usize> = (0..all.len()).filter(|place| mark(&all[*place]).is_some()).collect();
    let ends = opens.iter().copied().skip(1).chain([all.len()]);
    let position = |key: usize| all[..key].iter().filter(|token| token.role != TokenRole::Padding).count();
    let mut turns: Vec<(String, Span)> = Vec::new();
    for (&open, end) in opens.iter().zip(ends) {
        let keys = Keys::new(end, |key| key > open && all[key].is_text());
        let (Some(first), Some(last)) = (keys.first(), keys.within(&(0..end)).last()) else { continue };
        let range = Some(position(first)..position(*last) + 1);
        turns.push((role_of(&tokens.text, all, open), Span { name: String::new(), range, keys }));
    }
    let roles: Vec<String> = turns.iter().map(|(role, _)| role.clone()).collect();
    let named = turns.into_iter().enumerate().map(|(turn, (role, span))| {
        let number = roles[..=turn].iter().filter(|other| **other == role).count();
        let is_only = roles.iter().filter(|other| **other == role).count() == 1;
        let name = if role == "system" && is_only { role } else { format!("{role} {number}") };
        Span { name, ..span }
    });
    named.collect()
}

/// The marks that [`turns`] knows.
pub const CHAT_MARKS: [&str; 15] = [
    "<|im_start|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "<|start|>",
    "<|start_of_role|>",
    "<|system|>",
    "[SYSTEM_PROMPT]",
    "<|user|>",
    "[INST]",
    "<｜User｜>",
    "<|assistant|>",
    "<｜Assistant｜>",
    "<|tool|>",
    "<|observation|>",
    "[TOOL_RESULTS]",
];

/// What a mark says of the role of the turn that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Its name follows, as text.
    NameFollows,
    /// This one.
    Names(&'static str),
}

/// The mark that a token is.
fn mark(token: &Token) -> Option<Mark> {
    Some(match token.text.trim() {
        "<|im_start|>" | "<|start_header_id|>" | "<start_of_turn>" | "<|start|>" | "<|start_of_role|>" => {
            Mark::NameFollows
        }
        "<|system|>" | "[SYSTEM_PROMPT]" => Mark::Names("system"),
        "<|user|>" | "[INST]" | "<｜User｜>" => Mark::Names("user"),
        "<|assistant|>" | "[/INST]" | "<｜Assistant｜>" => Mark::Names("assistant"),
        "<|tool|>" | "<|observation|>" | "[TOOL_RESULTS]" => Mark::Names("tool"),
        _ => return None,
    })
}

/// The role of the turn that the mark at `open` opens: as the template calls it, or `turn` where that is no plain word.
fn role_of(text: &str, all: &[Token], open: usize) -> String {
    if let Some(Mark::Names(role)) = mark(&all[open]) {
        return role.to_owned();
    }
    // its pieces, up to a line's end, which tokens show as a sign or leave out
    let mut role = String::new();
    let mut word = None;
    let mut end = all[open].span.as_ref().map(|span| span.end);
    for token in all[open + 1..].iter().take(MOST_ROLE_TOKENS).take_while(|token| token.is_text()) {
        let gap = end.zip(token.span.as_ref()).and_then(|(end, span)| text.get(end..span.start));
        let ends_line = token.text.contains(['\n', '↵']) || gap.is_some_and(|gap| gap.contains(char::is_whitespace));
        if ends_line || (ROLES.contains(&role.as_str()) && token.word != word) {
            break;
        }
        role.push_str(&token.text);
        end = token.span.as_ref().map(|span| span.end);
        word = token.word;
    }
    let is_plain = !role.is_empty() && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain && role.len() <= LONGEST_ROLE { role } else { "turn".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::PatchGrid;

    /// Tokens of these texts; those in angle or square brackets are special.
    fn tokens(texts: &[&str]) -> Tokens {
        let mut tokens = Tokens::from_labels(texts.iter().copied());
        for token in &mut tokens.tokens {
            if token.text.starts_with(['<', '[']) {
                token.role = TokenRole::Special;
            }
        }
        tokens
    }

    /// Names and keys of the turns.
    fn found(texts: &[&str]) -> Vec<(String, Vec<usize>)> {
        let turns = turns(&tokens(texts), texts.len());
        turns.into_iter().map(|turn| (turn.name, turn.keys.within(&(0..usize::MAX)).to_vec())).collect()
    }

    fn named(name: &str, keys: &[usize]) -> (String, Vec<usize>) {
        (name.to_owned(), keys.to_vec())
    }

    #[test]
    fn every_listed_mark_of_a_chat_is_one() {
        assert!(CHAT_MARKS.iter().all(|name| mark(&Token::labelled(*name)).is_some()));
    }

    #[test]
    fn turns_are_told_by_marks_before_the_name_of_the_role() {
        let chat = [
            "<|im_start|>",
            "system",
            "\n",
            "Be",
            " kind",
            "<|im_end|>",
            "\n",
            "<|im_start|>",
            "user",
            "\n",
            "Hi",
            "<|im_end|>",
            "\n",
            "<|im_start|>",
            "assist",
            "ant",
            "\n",
            "Hello",
            "<|im_end|>",
            "<|im_start|>",
            "user",
            "\n",
            "Bye",
        ];
        let expected = [
            named("system", &[1, 2, 3, 4, 6]),
            named("user 1", &[8, 9, 10, 12]),
            named("assistant 1", &[14, 15, 16, 17]),
            named("user 2", &[20, 21, 22]),
        ];
        assert_eq!(found(&chat), expected);
        let chat = ["<s>", "<|start_header_id|>", "user", "<|end_header_id|>", "\n\n", "Hi", "<|eot_id|>"];
        assert_eq!(found(&chat), [named("user 1", &[2, 4, 5])]);
    }

    #[test]
    fn turns_are_told_by_marks_in_the_place_of_the_name() {
        let chat = ["<s>", "[INST]", "Hi", "[/INST]", "Hello", "</s>", "[INST]", "Bye", "[/INST]"];
        assert_eq!(found(&chat), [named("user 1", &[2]), named("assistant 1", &[4]), named("user 2", &[7])]);
        assert_eq!(found(&["<|user|>", "\n", "Hi"]), [named("user 1", &[1, 2])]);
    }

    #[test]
    fn a_role_ends_where_its_line_does_also_where_tokens_do_not_show_it() {
        let mut chat = tokens(&["<|im_start|>", "us", "er", "Hi"]);
        chat.text = "<|im_start|>user\nHi".to_owned();
        for (token, span) in chat.tokens.iter_mut().zip([0..12, 12..14, 14..16, 17..19]) {
            token.span = Some(span);
        }
        assert_eq!(turns(&chat, 4)[0].name, "user 1");
        assert_eq!(found(&["<|im_start|>", "user", "↵", "Hi"])[0].0, "user 1");
        assert_eq!(found(&["<|im_start|>", "user", "Hi"])[0].0, "user 1");
    }

    #[test]
    fn a_text_without_marks_has_no_turns_and_a_role_that_is_no_word_is_a_turn() {
        assert!(found(&["user", ":", "Hi"]).is_empty());
        assert_eq!(found(&["<|im_start|>", "\u{1b}[31m", "\n", "Hi"])[0].0, "turn 1");
        assert!(found(&["<|im_start|>"]).is_empty());
    }

    #[test]
    fn positions_of_turns_and_spans_leave_padding_out() {
        let mut padded = tokens(&["<pad>", "<pad>", "<|user|>", "Hi", "you"]);
        padded.tokens[..2].iter_mut().for_each(|token| token.role = TokenRole::Padding);
        let turn = &turns(&padded, 5)[0];
        assert_eq!((turn.range.clone(), turn.keys.first()), (Some(1..3), Some(3)));
        let span = Span::of("a", 0..2, &padded, 5).expect("there are three tokens");
        assert_eq!(span.keys.within(&(0..5)), [2, 3]);
        assert!(span.overlaps(turn));
        assert_eq!(Span::of("a", 2..4, &padded, 5), None, "there is no fourth token");
        assert_eq!(Span::of("a", 1..1, &padded, 5), None, "it is empty");
    }

    #[test]
    fn special_tokens_patches_and_silence_are_spans_of_their_roles() {
        let mut recording = recording(Kind::Encoder, vec![0.2; 25], 5, 5);
        let item = &mut recording.items[0];
        item.source = tokens(&["<CLS>", "r0c0", "r0c1", "r1c0", "r1c1"]);
        item.image = Some(PatchGrid { first: 1, rows: 2, columns: 2, size: None, seen: None });
        item.n_sound = Some(4);
        let spans = roles(&recording.items[0], &recording.layers[0]);
        let found: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.len())).collect();
        assert_eq!(found, [("special", 1), ("text", 4), ("patches", 4), ("silence", 1)]);
    }
}
