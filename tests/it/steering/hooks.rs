//! Hooks.

use serde_json::Value;

use super::seeded;
use crate::support::{Program, server};

/// The hooks of the documentation do what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_hooks_work() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "hooks", 4).await;
    let folder = std::env::temp_dir().join(format!("cl-doc-hooks-{}", fastrand::u64(..)));
    let place = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let made = std::process::Command::new("mkdir")
        .args([
            "-m",
            "700",
            "-p",
            &place(""),
            &place("hooks"),
            &place("bin"),
            &place("backup"),
        ])
        .status();
    assert!(made.unwrap().success());
    // In place of the programs that would reach a chat or tell the time.
    let curl = format!(
        "#!/bin/sh\nfor last; do :; done\ncat > {}/$last\n",
        folder.display()
    );
    let mut scripts = vec![
        (place("bin/curl"), curl),
        (place("bin/date"), "#!/bin/sh\necho $HOUR\n".to_string()),
    ];
    let mut names = Vec::new();
    for part in include_str!("../../../docs/hooks.md")
        .split("```sh hook\n")
        .collect::<Vec<_>>()
        .windows(2)
    {
        // The first hook that the paragraph before the script names.
        let paragraph = part[0].trim_end().rsplit("\n\n").next().unwrap();
        let name = paragraph
            .split("`hooks/")
            .nth(1)
            .unwrap()
            .split('`')
            .next()
            .unwrap();
        let script = part[1].split("```").next().unwrap();
        names.push(name.to_string());
        scripts.push((place(&format!("hooks/{name}")), script.to_string()));
    }
    assert_eq!(
        names,
        [
            "success-chat",
            "failure-pager",
            "validated-backup",
            "before-cut-over-hours"
        ]
    );
    for (path, script) in &scripts {
        // By another process: a file that this one has open for writing while a thread forks cannot be
        // executed.
        let made = std::process::Command::new("sh")
            .args([
                "-c",
                "printf '%s' \"$2\" > \"$1\" && chmod 700 \"$1\"",
                "sh",
                path,
                script,
            ])
            .status();
        assert!(made.unwrap().success());
    }
    let run = async |hour: &str| {
        Program::on(primary, "migrate", ["--database", &db.name, "--table", "t"])
            .args(["--alter", "ADD COLUMN c INT", "--max-lag", "1h"])
            .args(["--hooks-path", &place("hooks")])
            .env(
                "PATH",
                format!("{}:{}", place("bin"), std::env::var("PATH").unwrap()),
            )
            .env("HOUR", hour)
            .env("BACKUP_DIR", place("backup"))
            .env("CHAT_WEBHOOK", "chat")
            .env("PAGER_URL", "pager")
            .run()
            .await
    };
    let told = |name: &str| -> Value {
        let text = std::fs::read_to_string(place(name)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    run("20")
        .await
        .expect_code(6)
        .expect_text("no backup of today");
    assert_eq!(db.tables().await, ["t"], "nothing was created");
    let backup = folder.join("backup").join(&db.name);
    std::fs::create_dir(&backup).unwrap();
    std::fs::write(backup.join("full.xbstream"), "x").unwrap();
    run("12")
        .await
        .expect_code(6)
        .expect_text("not before 18:00");
    let page = told("pager")["summary"].as_str().unwrap().to_string();
    assert!(
        page.starts_with(&format!("failure of {}.t: ", db.name)),
        "{page}"
    );
    assert!(page.contains("not before 18:00"), "{page}");
    run("20").await.expect_code(0);
    let message = told("chat")["text"].as_str().unwrap().to_string();
    assert!(
        message.starts_with(&format!("{}.t altered in ", db.name)),
        "{message}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
