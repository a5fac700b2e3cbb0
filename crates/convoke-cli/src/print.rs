//! What people and programs get to see.
use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use crate::{Failure, cli::Output};

/// Writes results to the standard output, and what went wrong to the standard error.
#[derive(Debug)]
pub(crate) struct Printer {
    output: Output,
}

impl Printer {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    /// Whether text may be coloured: on a terminal, unless somebody asked for none.
    pub(crate) fn colour(&self) -> bool {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        std::io::stdout().is_terminal() && !unwanted
    }

    /// One JSON value, or else the text.
    pub(crate) fn data(&self, data: &impl Serialize, text: impl FnOnce() -> String) {
        match self.output {
            Output::Text => line(&text()),
            Output::Json => self.json(data),
        }
    }

    /// One JSON value in any case.
    pub(crate) fn json(&self, data: &impl Serialize) {
        line(&serde_json::to_string_pretty(data).expect("our data has text keys and no failing values"));
    }

    /// A sentence for people; programs get it as JSON as well.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.output == Output::Json {
            self.json(&json!({ "error": failure.to_string() }));
        }
        eprintln!("convoke: {failure}");
    }
}

/// Whoever reads may have gone, such as `head`: that is no failure of ours.
fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Breaks a text into lines that fit, each but the first behind this margin.
pub(crate) fn wrapped(text: &str, margin: usize, width: usize) -> String {
    let mut out = String::new();
    let mut column = margin;
    for (number, word) in text.split([' ', '\n']).enumerate() {
        // what is told may come from anywhere: nothing in it commands a terminal
        let word: String = word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let length = word.chars().count();
        if number > 0 && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', margin));
            column = margin;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_between_words_and_a_long_word_is_not() {
        assert_eq!(wrapped("one two three", 2, 9), "one two\n  three");
        assert_eq!(wrapped("unbreakable yes", 2, 5), "unbreakable\n  yes");
        assert_eq!(wrapped("", 2, 5), "");
        assert_eq!(wrapped("two\nlines \u{1b}[31m", 2, 80), "two lines \u{fffd}[31m");
    }
}
