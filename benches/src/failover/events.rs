//! What a node's process tells: a line each.

use std::io::{self, Write};

/// What happened at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// How it stands. A leader says how many of the others could take over from it.
    Stands { leads: bool, term: u64, near: usize },
    /// A write of its client was acknowledged, by the leader of this term.
    Wrote { term: u64 },
    /// Something was not done.
    Failed { why: String },
}

impl Event {
    /// Prints it, in one piece.
    pub(crate) fn say(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(format!("{}\n", self.line()).as_bytes())?;
        out.flush()
    }

    fn line(&self) -> String {
        match self {
            Self::Stands { leads, term, near } => format!("stands {} {term} {near}", u8::from(*leads)),
            Self::Wrote { term } => format!("wrote {term}"),
            Self::Failed { why } => format!("failed {}", why.replace('\n', " ")),
        }
    }

    /// What was printed.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let numbers = || rest.split(' ').map(|number| number.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
        match (word, numbers().as_deref()) {
            ("stands", Some(&[leads, term, near])) => {
                Some(Self::Stands { leads: leads == 1, term, near: usize::try_from(near).ok()? })
            }
            ("wrote", Some(&[term])) => Some(Self::Wrote { term }),
            ("failed", _) => Some(Self::Failed { why: rest.to_owned() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_says_the_other_one_reads() {
        for event in [
            Event::Stands { leads: true, term: 7, near: 2 },
            Event::Stands { leads: false, term: 0, near: 0 },
            Event::Wrote { term: 12 },
            Event::Failed { why: "no leader".to_owned() },
        ] {
            assert_eq!(Event::read(&event.line()), Some(event));
        }
        assert_eq!(Event::read("wrote nothing"), None);
        assert_eq!(Event::read("stands 1"), None);
    }
}
