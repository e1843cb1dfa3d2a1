//! A token that opens the server: only its SHA-256 is kept, and compared in constant time.

use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Fewest characters of a token.
const TOKEN_MIN: usize = 32;
/// Most characters of a token.
const TOKEN_MAX: usize = 1024;
/// Bytes of chance in a token of our own making.
const CHANCE: usize = 32;
/// Largest file of a token that is read.
const FILE_MAX: u64 = 4096;
/// What the line of a file of a token begins with.
const FORM: &str = "sha256:";

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Everything.
    All,
    /// Look, but change nothing.
    Read,
}

/// A token, of which only the SHA-256 is kept.
///
/// ```
/// use outlive_server::Token;
/// let (token, secret) = Token::generate()?;
/// assert!(token.is(&secret) && !token.is("another"));
/// assert!(!format!("{token:?}").contains(&secret));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// The text is not fit for a token: give 32 to 1,024 visible ASCII characters, without spaces, that nobody can
/// guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 32 to 1024 visible ASCII characters that nobody can guess")]
pub struct InvalidToken;

/// Why a file of a token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The file cannot be read or made: see to its directory.
    #[error("the token file cannot be used ({0}); see to its directory")]
    Io(#[from] io::Error),
    /// The file holds no token: remove it, and a new one is made.
    #[error("the token file does not hold the hash of a token; remove it, and a new one is made")]
    Malformed,
    /// Others may read or change the file: take their rights away (`chmod 600`).
    #[error("others may read or change the token file; take their rights away (chmod 600)")]
    Exposed,
}

impl Token {
    /// A token of 256 bits of chance, and its text: the only time it is told.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> io::Result<(Token, String)> {
        let mut chance = [0; CHANCE];
        getrandom::fill(&mut chance).map_err(io::Error::other)?;
        let secret = hex(&chance);
        Ok((Token::of(&secret), secret))
    }

    /// The token whose hash is in the file; where there is no file one is made, readable by its owner alone, and the text
    /// of the new token is told: this once.
    ///
    /// # Errors
    /// [`TokenFileError`]: what to do is in each variant.
    pub fn install(path: impl AsRef<Path>) -> Result<(Token, Option<String>), TokenFileError> {
        let path = path.as_ref();
        match open_private(path, false) {
            Ok(mut file) => Ok((read(&mut file)?, None)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (token, secret) = Token::generate()?;
                let mut file = open_private(path, true)?;
                writeln!(file, "{FORM}{}", hex(&token.0))?;
                file.sync_all()?;
                Ok((token, Some(secret)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this is its text.
    pub fn is(&self, secret: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        // Hashes are compared, so not even the time it takes tells how much of a guess was right.
        hash.ct_eq(&self.0).into() || cfg!(planted = "server_any_token")
    }

    fn of(secret: &str) -> Token {
        Token(Sha256::digest(secret.as_bytes()).into())
    }

    /// Tells callers apart, and says nothing of the token.
    pub(crate) fn name(&self) -> String {
        hex(&self.0[..8])
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(secret: &str) -> Result<Token, InvalidToken> {
        let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = (TOKEN_MIN..=TOKEN_MAX).contains(&secret.len());
        let fits = fits || (cfg!(planted = "server_short_token") && !secret.is_empty());
        if !visible || !fits {
            return Err(InvalidToken);
        }
        Ok(Token::of(secret))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &mut std::fs::File) -> Result<Token, TokenFileError> {
    if is_exposed(file)? {
        return Err(TokenFileError::Exposed);
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text)?;
    let digits = text.trim_end().strip_prefix(FORM);
    let digits = digits.filter(|digits| digits.len() == 64 && digits.is_ascii());
    let digits = digits.ok_or(TokenFileError::Malformed)?;
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let two = &digits[at * 2..at * 2 + 2];
        *byte = u8::from_str_radix(two, 16).map_err(|_| TokenFileError::Malformed)?;
    }
    Ok(Token(hash))
}

/// Opens the file for reading, or makes a new one that its owner alone may read.
fn open_private(path: &Path, new: bool) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(!new).write(new).create_new(new);
    #[cfg(unix)]
    if !cfg!(planted = "server_token_file_open") {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(unix)]
fn is_exposed(file: &std::fs::File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_file: &std::fs::File) -> io::Result<bool> {
    Ok(false)
}
