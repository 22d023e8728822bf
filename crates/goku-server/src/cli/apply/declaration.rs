//! A file that declares what a store holds.

use std::collections::BTreeMap;

use goku::Setting;
use goku::access::{AccessName, Grant, Identity, Role};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::declared_name;
use crate::cli::access::GrantArgument;
use crate::configuration::Problem;
use crate::configuration::toml_source::{Fault, TomlSource, name_of, nearest};

/// The tables of a file.
const TABLES: [&str; 2] = ["role", "identity"];

/// What a file declares.
#[derive(Debug, Default)]
pub(super) struct Declaration {
    pub(super) roles: BTreeMap<AccessName, Role>,
    pub(super) identities: BTreeMap<AccessName, Identity>,
    /// The roles that identities are given, and where in the text.
    given: Vec<(usize, AccessName)>,
}

impl Declaration {
    /// Reads the text of the file of this name. All that is wrong with it is told, in the order of the file.
    pub(super) fn read<'a>(name: &'a str, text: &'a str) -> Result<(Declaration, TomlSource<'a>), Vec<Problem>> {
        let (table, source) = TomlSource::parse(name, text);
        let mut reading = Reading::default();
        reading.file(&table);
        source.check(reading.faults)?;
        Ok((reading.declaration, source))
    }

    /// The roles that there are once the file was applied to a store which has these.
    pub(super) fn roles_after(&self, stored: &[Setting], prune: bool) -> Vec<AccessName> {
        let stored = stored.iter().filter(|_| !prune).filter_map(declared_name::<Role>);
        self.roles.keys().cloned().chain(stored).collect()
    }

    /// What is wrong with the roles of identities, where there are these roles.
    pub(super) fn unknown_roles(&self, roles: &[AccessName]) -> Vec<Fault> {
        let unknown = self.given.iter().filter(|(_, role)| !roles.contains(role));
        let fault = |(at, role): &(usize, AccessName)| {
            let known = roles.iter().map(ToString::to_string);
            let meant = match nearest(role.as_str(), known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("declare it as [role.{role}]"),
            };
            (*at, format!("there is no role `{role}`: {meant}"))
        };
        unknown.map(fault).collect()
    }
}

#[derive(Default)]
struct Reading {
    declaration: Declaration,
    faults: Vec<Fault>,
}

impl Reading {
    fn file(&mut self, table: &DeTable<'_>) {
        for (kind, value) in table {
            let at = kind.span().start;
            let kind = kind.get_ref().as_ref();
            if !TABLES.contains(&kind) {
                self.fault(at, unknown_table(kind));
                continue;
            }
            let DeValue::Table(entries) = value.get_ref() else {
                self.fault(
                    value.span().start,
                    format!("`{kind}` has a table for each name, such as [{kind}.NAME]"),
                );
                continue;
            };
            for (name, value) in entries {
                let at = name.span().start;
                match (AccessName::new(name.get_ref()), value.get_ref()) {
                    (Err(error), _) => self.fault(at, error.message().to_owned()),
                    (Ok(name), DeValue::Table(fields)) if kind == "role" => self.role(at, name, fields),
                    (Ok(name), DeValue::Table(fields)) => self.identity(at, name, fields),
                    (Ok(name), other) => {
                        let other = name_of(other);
                        self.fault(value.span().start, format!("`{kind}.{name}` is a table, not {other}"));
                    }
                }
            }
        }
    }

    fn role(&mut self, at: usize, name: AccessName, fields: &DeTable<'_>) {
        let mut grants = Vec::new();
        for item in self.list(at, fields, &format!("role.{name}"), "grants") {
            match grant(item) {
                Ok(grant) => grants.push(grant),
                Err(message) => self.fault(item.span().start, message),
            }
        }
        self.declaration.roles.insert(name, GrantArgument::role(grants));
    }

    fn identity(&mut self, at: usize, name: AccessName, fields: &DeTable<'_>) {
        let mut roles = Vec::new();
        for item in self.list(at, fields, &format!("identity.{name}"), "roles") {
            let at = item.span().start;
            match item.get_ref() {
                DeValue::String(role) => match AccessName::new(role) {
                    Ok(role) => {
                        self.declaration.given.push((at, role.clone()));
                        roles.push(role);
                    }
                    Err(error) => self.fault(at, error.message().to_owned()),
                },
                other => self.fault(at, format!("a role is the text of its name, not {}", name_of(other))),
            }
        }
        self.declaration.identities.insert(name, Identity { roles });
    }

    /// The items of the one field that a table has, which is a list.
    fn list<'t, 'i>(
        &mut self,
        at: usize,
        fields: &'t DeTable<'i>,
        table: &str,
        field: &str,
    ) -> &'t [Spanned<DeValue<'i>>] {
        let mut found = None;
        for (name, value) in fields {
            let written = name.get_ref().as_ref();
            if written != field {
                let meant = match nearest(written, [field.to_owned()].into_iter()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("it has `{field}`"),
                };
                self.fault(
                    name.span().start,
                    format!("unknown key `{written}` in [{table}]: {meant}"),
                );
                found.get_or_insert(&[][..]);
                continue;
            }
            match value.get_ref() {
                DeValue::Array(items) => found = Some(items),
                other => {
                    let message = format!("`{field}` is a list, such as [\"…\", \"…\"], not {}", name_of(other));
                    self.fault(value.span().start, message);
                    found = Some(&[]);
                }
            }
        }
        found.unwrap_or_else(|| {
            self.fault(at, format!("[{table}] has no `{field}`"));
            &[]
        })
    }

    fn fault(&mut self, at: usize, message: String) {
        self.faults.push((at, message));
    }
}

/// Why there is no table of this name.
fn unknown_table(name: &str) -> String {
    match name {
        "token" => "tokens are never declared: `goku token create` makes them".to_owned(),
        "auth" => "whether rights are asked for is never declared: see `goku auth enable`".to_owned(),
        name => {
            let known = TABLES.map(|table| format!("[{table}.NAME]")).join(" and ");
            match nearest(name, TABLES.map(str::to_owned).into_iter()) {
                Some(known) => format!("unknown table `{name}`: did you mean `{known}`?"),
                None => format!("unknown table `{name}`: there are {known}"),
            }
        }
    }
}

/// A grant as a text, or as a table whose bytes may be in base64.
fn grant(value: &Spanned<DeValue<'_>>) -> Result<GrantArgument, String> {
    match value.get_ref() {
        DeValue::String(text) => text.parse(),
        DeValue::Table(_) => Grant::deserialize(ValueDeserializer::from(value.clone()))
            .map(GrantArgument::from)
            .map_err(|error| error.message().replace('\n', ", ")),
        other => Err(format!(
            "a grant is a text such as \"read,watch:app/\", not {}",
            name_of(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let problems = Declaration::read("f", text).map(drop).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn roles_and_identities_are_read() {
        let text = "[role.reader]\ngrants = ['read,observe:a/', { verbs = ['write'], key_base64 = '/w==' }]\n\
                    [identity]\nci = { roles = ['reader'] }\n'a b'.roles = []";
        assert_eq!(told(text).len(), 1);
        let text = text.replace("'a b'", "b");
        let (declaration, _) = Declaration::read("f", &text).unwrap();
        let role = declaration.roles.values().next().unwrap();
        assert_eq!(GrantArgument::show(role), "read:a/ observe write=\\xff");
        assert_eq!(declaration.identities.len(), 2);
        assert!(
            declaration
                .unknown_roles(&[AccessName::new("reader").unwrap()])
                .is_empty()
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_what_was_meant() {
        for (text, why) in [
            (
                "[rol.a]\ngrants = []",
                "f:1:2: unknown table `rol`: did you mean `role`?",
            ),
            (
                "[x]",
                "f:1:2: unknown table `x`: there are [role.NAME] and [identity.NAME]",
            ),
            (
                "[token.a]",
                "f:1:2: tokens are never declared: `goku token create` makes them",
            ),
            (
                "auth = true",
                "f:1:1: whether rights are asked for is never declared: see `goku auth enable`",
            ),
            (
                "role = 1",
                "f:1:8: `role` has a table for each name, such as [role.NAME]",
            ),
            ("[role]\na = 1", "f:2:5: `role.a` is a table, not a whole number"),
            ("[role.a]", "f:1:7: [role.a] has no `grants`"),
            (
                "[role.a]\ngrant = ['observe']",
                "f:2:1: unknown key `grant` in [role.a]: did you mean `grants`?",
            ),
            (
                "[role.a]\ngrants = 'observe'",
                "f:2:10: `grants` is a list, such as [\"…\", \"…\"], not a text",
            ),
            (
                "[role.a]\ngrants = [1]",
                "f:2:11: a grant is a text such as \"read,watch:app/\", not a whole number",
            ),
            (
                "[identity.a]\nroles = [1]",
                "f:2:10: a role is the text of its name, not a whole number",
            ),
        ] {
            assert_eq!(told(text), [why]);
        }
        let grants = told("[role.a]\ngrants = [\n 'fly:a', 'observe',\n { verbs = ['read'] }]");
        assert!(grants[0].starts_with("f:3:2: \"fly\" is no verb"), "{grants:?}");
        assert!(
            grants[1].starts_with("f:4:2: a grant says with a prefix or a key"),
            "{grants:?}"
        );
    }

    #[test]
    fn a_role_that_is_nowhere_is_told_with_the_nearest_one() {
        let (declaration, source) = Declaration::read("f", "[identity.ci]\nroles = ['raeder', 'x']").unwrap();
        let known = [AccessName::new("reader").unwrap()];
        let problems = source.check(declaration.unknown_roles(&known)).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f:2:10: there is no role `raeder`: did you mean `reader`?",
                "f:2:20: there is no role `x`: declare it as [role.x]"
            ]
        );
    }
}
