//! Lists inside one flag: limits of status variables, servers.

use std::collections::BTreeMap;

use crate::failure::{Failure, Result};

/// `Threads_running=100,Threads_connected=500`; also what the socket's `max-load=` takes.
///
/// # Errors
/// In gh-ost's words.
pub fn load(list: &str) -> Result<BTreeMap<String, u64>> {
    let mut limits = BTreeMap::new();
    if list.is_empty() {
        return Ok(limits);
    }
    for condition in list.split(',') {
        let wrong = |what: &str| Failure::failed(format!("error parsing {what}: {condition}"));
        let mut parts = condition.split('=');
        let (Some(variable), Some(limit), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("load condition"));
        };
        if variable.is_empty() {
            return Err(wrong("status variable in load condition"));
        }
        let limit: i64 = limit
            .parse()
            .map_err(|_| wrong("numeric value in load condition"))?;
        limits.insert(variable.to_string(), u64::try_from(limit).unwrap_or(0));
    }
    Ok(limits)
}

/// `host`, `host:port`, `[v6]:port`, `v6`; the port is 3306 where none is given.
///
/// # Errors
/// In gh-ost's words.
pub fn instance(text: &str) -> Result<(String, u16)> {
    const DEFAULT_PORT: u16 = 3306;
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(Failure::failed(format!(
            "cannot parse InstanceKey from {text}. Expected format is host:port"
        )));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .map_err(|_| Failure::failed(format!("invalid port: {port}")))?,
    };
    Ok((host.to_string(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances() {
        for (text, expect) in [
            ("db1", Ok(("db1", 3306))),
            ("db1:7", Ok(("db1", 7))),
            ("10.0.0.1:7", Ok(("10.0.0.1", 7))),
            ("[::1]:7", Ok(("::1", 7))),
            ("[::1]", Ok(("::1", 3306))),
            ("::1", Ok(("::1", 3306))),
            ("db1:x", Err("invalid port: x")),
            (
                ":7",
                Err("cannot parse InstanceKey from :7. Expected format is host:port"),
            ),
        ] {
            let found = instance(text).map_err(|failure| failure.to_string());
            let expect = expect
                .map(|(host, port)| (host.to_string(), port))
                .map_err(str::to_string);
            assert_eq!(found, expect, "{text}");
        }
    }

    #[test]
    fn loads() {
        assert_eq!(load("").unwrap().len(), 0);
        assert_eq!(
            load("a=1,b=2").unwrap(),
            [("a".into(), 1), ("b".into(), 2)].into()
        );
        for (text, expect) in [
            ("a", "error parsing load condition: a"),
            ("a=1=2", "error parsing load condition: a=1=2"),
            ("=1", "error parsing status variable in load condition: =1"),
            (
                "a=1,b=",
                "error parsing numeric value in load condition: b=",
            ),
        ] {
            assert_eq!(load(text).unwrap_err().to_string(), expect);
        }
    }
}
