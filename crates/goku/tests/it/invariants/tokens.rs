//! Rust source as tokens: names and single characters, without comments and what is in quotes.

pub(super) type Token = String;

/// The tokens of a text. A literal is left out, but for numbers.
pub(super) fn of(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        match (rest.find("/*"), rest.find("*/")) {
            (Some(open), Some(close)) if open < close => {
                depth += 1;
                at += open + 2;
            }
            (_, Some(close)) => {
                depth -= 1;
                at += close + 2;
            }
            (_, None) => return text.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of the string, character or lifetime that a text begins with.
fn literal_length(text: &str) -> Option<usize> {
    let unprefixed = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - unprefixed.len();
    let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
    if prefix <= 2 && unprefixed[hashes..].starts_with('"') {
        let is_raw = text[..prefix].contains('r');
        let body = prefix + hashes + 1;
        return if is_raw {
            let end = format!("\"{}", "#".repeat(hashes));
            text[body..].find(&end).map(|at| body + at + end.len())
        } else if hashes == 0 {
            Some(body + quoted_length(&text[body..], '"'))
        } else {
            None
        };
    }
    let quoted = text.strip_prefix('b').unwrap_or(text).strip_prefix('\'')?;
    let start = text.len() - quoted.len();
    let mut chars = quoted.chars();
    let is_char = chars.next() == Some('\\') || chars.next() == Some('\'');
    let name = quoted
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(quoted.len());
    Some(start + if is_char { quoted_length(quoted, '\'') } else { name })
}

/// The length of what is quoted, its closing quote included.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

pub(super) fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// How many names the path has that begins with a name: `a::b::c` has three.
pub(super) fn path_length(first: &Token, after: &[Token]) -> usize {
    match after {
        [colon, second, name, rest @ ..] if colon == ":" && second == ":" && is_name(name) && is_name(first) => {
            1 + path_length(name, rest)
        }
        _ => 1,
    }
}

/// Where the block ends whose opening bracket stands before these tokens: the place of its closing one.
pub(super) fn end_of_block(tokens: &[Token]) -> usize {
    end_of(tokens, |_| false)
}

/// The parts between commas that no bracket encloses.
pub(super) fn split_at_commas(mut tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    while !tokens.is_empty() {
        let end = end_of(tokens, |token| token == ",");
        parts.push(&tokens[..end]);
        tokens = tokens.get(end + 1..).unwrap_or_default();
    }
    parts
}

/// The place of the first token outside of brackets that is an end, or closes what encloses them all.
fn end_of(tokens: &[Token], is_end: impl Fn(&str) -> bool) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            token if depth == 0 && is_end(token) => return at,
            "}" | ")" | "]" if depth == 0 => return at,
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The tokens without the items that stand under `#[cfg(test)]`.
pub(super) fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut rest = &tokens[..];
    while let [token, after @ ..] = rest {
        if is_test(rest) {
            rest = after_item(rest);
        } else {
            kept.push(token.clone());
            rest = after;
        }
    }
    kept
}

fn is_test(tokens: &[Token]) -> bool {
    let begins_with = |words: &[&str]| tokens.iter().take(words.len()).eq(words.iter());
    begins_with(&["#", "[", "cfg", "(", "test", ")"]) || begins_with(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// What follows the item, the field or the statement that these tokens begin with, its attributes first.
fn after_item(mut tokens: &[Token]) -> &[Token] {
    while let [hash, open, attribute @ ..] = tokens
        && hash == "#"
        && open == "["
    {
        tokens = &attribute[end_of_block(attribute) + 1..];
    }
    let is_field = tokens
        .iter()
        .take_while(|token| !["(", "{", "<", ";"].contains(&token.as_str()))
        .any(|token| token == ":")
        && !["const", "static", "use"]
            .iter()
            .any(|word| tokens.iter().take(5).any(|token| token == word));
    let end = end_of(tokens, |token| token == ";" || token == "{" || is_field && token == ",");
    match tokens.get(end).map(String::as_str) {
        Some("{") => {
            let body = &tokens[end + 1..];
            &body[(end_of_block(body) + 1).min(body.len())..]
        }
        Some(";" | ",") => &tokens[end + 1..],
        _ => &tokens[end..],
    }
}
