//! The commands of a page of documentation, as a script.

use crate::failure::Failure;

/// What the commands of the page run below: any that fails ends the script, and `again` repeats one.
const PRELUDE: &str = r#"set -eu
cd /root
# As Debian's installer has them.
printf "127.0.0.1 localhost\n127.0.1.1 %s\n" "$(hostname)" >>/etc/hosts
again() {
    for _ in $(seq 600); do
        if sh -euc "$1"; then
            return 0
        fi
        sleep 0.1
    done
    echo "still not so after 60 s: $1"
    exit 1
}
step() {
    echo "production page: $1"
}
"#;

/// A script of all blocks of shell commands in the page, one after another. Those that are marked `again` are tried until they
/// succeed.
pub(super) fn script(page: &str) -> String {
    let mut script = PRELUDE.to_owned();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            script.push_str(&format!("step {}\n", quoted(title)));
        }
        let again = match line {
            "```sh" => false,
            "```sh again" => true,
            _ => continue,
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match again {
            true => script.push_str(&format!("again {}\n", quoted(&block))),
            false => script.push_str(&format!("{block}\n")),
        }
    }
    script
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The line of the page that begins with this command.
pub(super) fn install<'a>(page: &'a str, command: &str) -> Result<&'a str, Failure> {
    page.lines()
        .find(|line| line.starts_with(command))
        .ok_or_else(|| Failure::new(format!("the page does not install by `{command}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_the_blocks_of_commands_and_nothing_else() {
        let page =
            "# A\n\nText\n\n## 1. It's\n```sh\ngoku a\n  goku b\n```\n```json\n{}\n```\n```sh again\ngrep 'c'\n```\n";
        let script = script(page);
        let commands = script.strip_prefix(PRELUDE).unwrap();
        assert_eq!(
            commands,
            "step '1. It'\\''s'\ngoku a\n  goku b\nagain 'grep '\\''c'\\'''\n"
        );
    }

    #[test]
    fn the_page_on_production_installs_the_package_first() {
        let page = super::super::PAGE;
        let install = install(page, super::super::INSTALL).unwrap();
        let commands = script(page);
        let first = commands.lines().find(|line| line.contains("goku.deb"));
        assert_eq!(first, Some(install));
        assert!(super::install(page, "no such command").is_err());
    }
}
