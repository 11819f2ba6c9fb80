//! How texts from outside are written so that they stay texts: in Markdown, in XML, and on
//! any screen.
//!
//! Apart so that what protects the reader is read in one place. Everything has been through
//! [`clean`] before, by way of `bound`.

/// What may stand in any file: control characters, and those that turn the direction of a
/// line around, are replaced; line breaks are kept where `lines` says so. At most `bytes`
/// long.
pub(super) fn clean(text: &str, bytes: usize, lines: bool) -> String {
    let mut clean = String::with_capacity(text.len().min(bytes));
    for c in text.chars() {
        let c = match c {
            '\n' if lines => '\n',
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || turns(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if clean.len() + c.len_utf8() > bytes {
            break;
        }
        clean.push(c);
    }
    clean
}

/// Characters that hide or turn around what stands beside them, and the two that XML 1.0
/// does not know.
fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Prose in Markdown: on one line and without a meaning of its own, also in a table.
pub(super) fn prose(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '<' => prose.push_str("&lt;"),
            '>' => prose.push_str("&gt;"),
            '&' => prose.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '#' | '$' => {
                prose.push('\\');
                prose.push(c);
            }
            // Within a word it has no meaning, and names are full of it.
            '_' if !is_inside_word(text, at) => prose.push_str("\\_"),
            '\n' => prose.push(' '),
            c => prose.push(c),
        }
    }
    prose
}

fn is_inside_word(text: &str, at: usize) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    letter(text[..at].chars().next_back()) && letter(text[at + 1..].chars().next())
}

/// A text in Markdown that nothing is made of: no link, no mention, no markup. Not for
/// tables.
pub(super) fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let line = text.replace('\n', " ");
    if line.trim().is_empty() {
        return super::figures::UNKNOWN.to_owned();
    }
    // The spaces are taken off again by whoever shows it.
    let edge = line.starts_with(['`', ' ']) || line.ends_with(['`', ' ']);
    if edge { format!("{fence} {line} {fence}") } else { format!("{fence}{line}{fence}") }
}

/// Lines in Markdown that nothing is made of, as a block that is indented so far.
pub(super) fn block(text: &str, indent: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    let mut block = format!("{indent}{fence}text\n");
    for line in text.lines() {
        block.push_str(indent);
        block.push_str(line);
        block.push('\n');
    }
    block.push_str(&format!("{indent}{fence}\n"));
    block
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// A text in XML, as content or in an attribute.
pub(super) fn xml(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::{block, clean, code, prose, xml};

    #[test]
    fn what_would_fool_a_screen_is_replaced() {
        for (text, lines, says) in [
            ("a\nb\tc\rd", false, "a b c d"),
            ("a\nb", true, "a\nb"),
            ("\u{1b}[31mred\u{7f}", false, "\u{fffd}[31mred\u{fffd}"),
            ("a\u{202e}b\u{feff}\u{ffff}", false, "a\u{fffd}b\u{fffd}\u{fffd}"),
            ("Grüße 東京", false, "Grüße 東京"),
        ] {
            assert_eq!(clean(text, 1_000, lines), says);
        }
        assert_eq!(clean("üüü", 5, false), "üü");
        assert_eq!(clean("\u{1}\u{1}", 5, false), "\u{fffd}");
    }

    #[test]
    fn prose_has_no_markup() {
        for (text, says) in [
            ("route_traffic took 1_000", "route_traffic took 1_000"),
            ("_it_ is", "\\_it\\_ is"),
            ("a|b", "a\\|b"),
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
            ("[x](javascript:y)", "\\[x\\](javascript:y)"),
            ("`a` **b** # c ~~d~~", "\\`a\\` \\*\\*b\\*\\* \\# c \\~\\~d\\~\\~"),
            ("a\n\n# b", "a  \\# b"),
            ("&lt;", "&amp;lt;"),
            ("a\\|b", "a\\\\\\|b"),
        ] {
            assert_eq!(prose(text), says);
        }
    }

    #[test]
    fn code_cannot_be_left_by_what_is_in_it() {
        for (text, says) in [
            ("/v2/x", "`/v2/x`"),
            ("a`b", "``a`b``"),
            ("`", "`` ` ``"),
            ("a```b``", "```` a```b`` ````"),
            ("", "–"),
            (" \n", "–"),
            ("a\nb", "`a b`"),
        ] {
            assert_eq!(code(text), says);
        }
        assert_eq!(block("a\n```\nb", " "), " ````text\n a\n ```\n b\n ````\n");
    }

    #[test]
    fn xml_has_no_markup() {
        assert_eq!(xml("<a b=\"c\">'&"), "&lt;a b=&quot;c&quot;&gt;&apos;&amp;");
    }
}
