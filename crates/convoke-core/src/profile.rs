use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Severity;

/// What the servers must survive. It sets how many copies are declared, and which findings of the start check end the
/// start.
///
/// ```
/// use convoke_core::Profile;
///
/// let profile: Profile = "ha".parse().expect("one of the three");
/// assert_eq!((profile.replicas(), Profile::default()), (3, Profile::Fast));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One copy of everything: a crash of the process loses nothing, the loss of the server's disk everything.
    #[default]
    Fast,
    /// Three copies: one server may be lost. A power failure of all of them may lose the last moments.
    Ha,
    /// Three copies, each on disk before it is confirmed: a power failure of all servers loses nothing.
    Strict,
}

impl Profile {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Ha, Self::Strict];

    /// How many copies of each stream are declared.
    #[must_use]
    pub fn replicas(self) -> usize {
        if self == Self::Fast { 1 } else { 3 }
    }

    /// The word for it, as in a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Ha => "ha",
            Self::Strict => "strict",
        }
    }

    /// The severity of a finding that this profile, and every stronger one, does not accept; weaker ones are warned.
    #[must_use]
    pub fn refuses_from(self, weakest: Self) -> Severity {
        if self >= weakest { Severity::Error } else { Severity::Warning }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.word() == text);
        found.ok_or_else(|| format!("there is no profile {text:?}: it is `fast`, `ha` or `strict`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_profile_refuses_what_a_weaker_one_refuses() {
        let severities = Profile::ALL.map(|profile| profile.refuses_from(Profile::Ha));
        assert_eq!(severities, [Severity::Warning, Severity::Error, Severity::Error]);
    }

    #[test]
    fn each_is_read_by_its_word_and_another_word_names_all() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let text = "safe".parse::<Profile>().expect_err("no profile");
        assert!(text.contains("`fast`, `ha` or `strict`"), "{text}");
    }
}
