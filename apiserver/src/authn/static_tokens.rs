//! Static tokens: a CSV file of bearer tokens and whom they stand for, read once at the start.
//!
//! A line is `token,user,uid` and, if there are any, groups in one quoted field: `"group1,group2"`. Quotes inside of quotes are
//! doubled. Tokens are kept as digests: what does not keep them cannot show them, and looking one up takes no longer for a guess
//! that is nearly right.

use super::{Accepted, TokenKind, shared};
use crate::User;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;

/// Lines of a file, at most.
const TOKENS_MAX: usize = 10_000;

/// See the module.
pub struct StaticTokens {
    users: HashMap<Digest, User>,
}

type Digest = [u8; 32];

impl StaticTokens {
    /// Reads the file's text. The error is a line's number and what is wrong there, without what it says.
    pub fn parse(text: &str) -> Result<StaticTokens, (usize, String)> {
        let mut seen: HashMap<Digest, usize> = HashMap::new();
        let mut users = HashMap::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.is_empty() {
                continue;
            }
            let (token, user) = entry(line).map_err(|problem| (number, problem))?;
            if users.len() == TOKENS_MAX {
                return Err((number, format!("a file holds at most {TOKENS_MAX} tokens")));
            }
            let key = digest_of(&token);
            if let Some(first) = seen.insert(key, number) {
                return Err((number, format!("its token is that of line {first}")));
            }
            users.insert(key, user);
        }
        Ok(StaticTokens { users })
    }

    /// Whom a token stands for.
    pub fn user(&self, token: &str) -> Option<&User> {
        self.users.get(&digest_of(token))
    }
}

fn digest_of(token: &str) -> Digest {
    let mut bytes = Digest::default();
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

fn entry(line: &str) -> Result<(String, User), String> {
    let fields = fields(line)?;
    let [token, name, uid, rest @ ..] = fields.as_slice() else {
        let found = fields.len();
        return Err(format!(
            "needs at least 3 fields (token, user name, user uid), found {found}"
        ));
    };
    if rest.len() > 1 {
        return Err("groups have to be in one field in quotes, separated by commas".into());
    }
    if token.is_empty() || token.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("its token is empty or has white space in it".into());
    }
    if name.is_empty() {
        return Err("the user name is empty".into());
    }
    let groups = rest.first().map_or("", String::as_str).split(',').map(str::trim);
    Ok((
        token.clone(),
        User {
            name: name.clone(),
            uid: uid.clone(),
            groups: groups.filter(|group| !group.is_empty()).map(str::to_owned).collect(),
            ..User::default()
        },
    ))
}

/// The fields of a line.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return Err("there is a quote inside of a field that does not begin with one".into());
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err("a quoted field is followed by something else than a comma".into()),
        }
    }
}

/// What stands before the closing quote, and what behind it.
fn unquoted(text: &str) -> Result<(String, &str), String> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('"').ok_or("a quoted field does not end on its line")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, rest)),
        }
    }
}

/// Accepts the tokens of a file, for every audience of this API server.
pub struct OfFile {
    pub tokens: std::sync::Arc<StaticTokens>,
    /// The audiences of this API server.
    pub audiences: Vec<String>,
}

#[async_trait::async_trait]
impl TokenKind for OfFile {
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
        let Some(user) = self.tokens.user(token) else {
            return Ok(None);
        };
        Ok(shared(&self.audiences, audiences).map(|audiences| Accepted {
            user: user.clone(),
            audiences,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        StaticTokens::parse(text).err().expect("it was accepted")
    }

    #[test]
    fn a_line_names_a_user_with_uid_and_groups() {
        let file = "t1,anna,7,\"devs,ops\"\n\n\"t,2\",\"bob \"\"b\"\"\",\nt3,carl,9,admins\r\n";
        let tokens = StaticTokens::parse(file).unwrap();
        let anna = tokens.user("t1").unwrap();
        assert_eq!((anna.name.as_str(), anna.uid.as_str()), ("anna", "7"));
        assert_eq!(anna.groups, ["devs", "ops"]);
        assert_eq!(tokens.user("t,2").unwrap().name, "bob \"b\"");
        assert_eq!(tokens.user("t3").unwrap().groups, ["admins"]);
        assert_eq!(tokens.user("t"), None);
        assert_eq!(tokens.user(""), None);
    }

    #[test]
    fn a_line_that_is_wrong_is_named_without_its_token() {
        for (file, line, words) in [
            ("t1,anna,1\nsecret,bob", 2, "at least 3 fields"),
            ("t1,anna,1\n# a note", 2, "at least 3 fields"),
            ("secret,anna,1\nt2,bob,2\nsecret,carl,3", 3, "that of line 1"),
            (",anna,1", 1, "token is empty"),
            ("t1 ,anna,1", 1, "white space"),
            ("t1,,1", 1, "user name"),
            ("t1,anna,1,devs,ops", 1, "one field"),
            ("t1,anna,1,\"devs,ops", 1, "does not end"),
            ("t1,anna,1,\"devs\"x", 1, "something else"),
            ("t1,anna,1, \"devs,ops\"", 1, "quote inside"),
        ] {
            let (found, problem) = problem(file);
            assert_eq!(found, line, "{file}: {problem}");
            assert!(problem.contains(words), "{file}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[tokio::test]
    async fn static_tokens_are_for_this_servers_audiences() {
        let kind = OfFile {
            tokens: StaticTokens::parse("t1,anna,7").unwrap().into(),
            audiences: vec!["api".into()],
        };
        let check = async |token: &str, audience: &str| {
            let audiences = [audience.to_owned()];
            kind.check(token, &audiences)
                .await
                .unwrap()
                .map(|found| found.user.name)
        };
        assert_eq!(check("t1", "api").await.as_deref(), Some("anna"));
        assert_eq!(check("t1", "vault").await, None);
        assert_eq!(check("t2", "api").await, None);
    }
}
