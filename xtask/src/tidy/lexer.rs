//! Enough of Rust's lexical rules to tell code from comments and literals.

/// Blanks out comments and the insides of literals, keeping every line where it was.
pub(crate) fn code_only(source: &str) -> String {
    let mut lexer = Lexer {
        rest: source,
        out: String::with_capacity(source.len()),
    };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.out
}

struct Lexer<'a> {
    rest: &'a str,
    out: String,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let after_word = self
            .out
            .ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let (false, Some(length)) = (after_word, raw_string(self.rest)) {
            self.blank(length);
        } else if self.rest.starts_with('"') {
            self.blank(quoted(self.rest, '"'));
        } else if is_char_literal(self.rest) {
            self.blank(quoted(self.rest, '\''));
        } else {
            self.keep();
        }
    }

    fn keep(&mut self) {
        let length = self.rest.chars().next().map_or(0, char::len_utf8);
        let (character, rest) = self.rest.split_at(length);
        self.out.push_str(character);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.out
            .extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        match rest {
            "" => break,
            _ if rest.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            _ if rest.starts_with("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a raw (byte, C) string that starts here.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(['"', '#']))
    })?;
    let after = &text[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

/// The length of a literal in `quote`s with backslash escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether a quote starts a character and not a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut characters = text.chars();
    if characters.next() != Some('\'') {
        return false;
    }
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, code: &str) {
        let squeezed: Vec<String> = [code_only(source), code.to_string()]
            .map(|text| text.split_whitespace().collect())
            .into();
        assert_eq!(squeezed[0], squeezed[1], "of {source:?}");
        assert_eq!(code_only(source).lines().count(), source.lines().count());
    }

    #[test]
    fn comments_go() {
        check("a // b { \nc", "a c");
        check("a /* { /* } */ \n */ b", "a b");
        check("/// doc with todo!()\nfn x() {}", "fn x() {}");
    }

    #[test]
    fn literals_go_and_lifetimes_stay() {
        check(r#"f("{ \" }") + 1"#, "f() + 1");
        check(
            "let c = '{'; let d = '\\''; &'a str",
            "let c = ; let d = ; &'a str",
        );
        check("r#\"quote \" and {\"# ; br\"{\"", ";");
        check("var\"x\"", "var");
    }

    #[test]
    fn an_unfinished_literal_does_not_hang() {
        check("\"abc", "");
        check("/* abc", "");
        check("r#\"abc", "");
    }
}
