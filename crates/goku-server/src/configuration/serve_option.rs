//! One option, as its argument defines it.

use std::any::TypeId;

use clap::{Arg, ArgAction, Command};

use super::CONFIG;

/// First words of flags that are tables of the file: `--log-filter` is `filter` in the table `log`, `--auth-jwt-issuer` is `issuer`
/// in the table `auth.jwt`. All other keys stand before the first table, under the name of their flag, with `_` for `-`.
pub(crate) const TABLES: [&str; 6] = ["auth", "auth.jwt", "log", "metrics", "tls", "trace"];

/// An option: an argument of `goku serve`.
#[derive(Clone, Copy)]
pub(crate) struct ServeOption<'a>(&'a Arg);

/// The type that a value has in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl<'a> ServeOption<'a> {
    /// The options among the arguments of a command, all of which are options but the file.
    pub(crate) fn all(command: &'a Command) -> impl Iterator<Item = ServeOption<'a>> {
        let options = command.get_arguments().filter(|arg| arg.get_id() != CONFIG);
        options.map(ServeOption)
    }

    pub(super) fn id(self) -> &'a str {
        self.0.get_id().as_str()
    }

    /// The name of the flag, without hyphens before it.
    fn long(self) -> &'a str {
        self.0.get_long().unwrap_or_else(|| self.id())
    }

    pub(crate) fn flag(self) -> String {
        format!("--{}", self.long())
    }

    /// The key in the file, after the name of its table and a dot where it is in one.
    pub(crate) fn key(self) -> String {
        let name = self.long().replace('-', "_");
        let tables = TABLES.into_iter().filter_map(|table| {
            let rest = name.strip_prefix(&table.replace('.', "_"))?;
            Some((table, rest.strip_prefix('_')?))
        });
        match tables.max_by_key(|(table, _)| table.len()) {
            Some((table, key)) => format!("{table}.{key}"),
            None => name,
        }
    }

    /// The environment variable.
    pub(crate) fn variable(self) -> String {
        format!("GOKU_{}", self.long().replace('-', "_").to_uppercase())
    }

    /// The environment variable that was looked at: there are older names.
    pub(super) fn variable_read(self) -> String {
        let variable = self.0.get_env().map(|variable| variable.to_string_lossy().into_owned());
        variable.unwrap_or_else(|| self.variable())
    }

    pub(crate) fn kind(self) -> Kind {
        let parsed = self.0.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|of| parsed == *of);
        if is(&[TypeId::of::<bool>()]) {
            Kind::Boolean
        } else if is(&[
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i64>(),
        ]) {
            Kind::Integer
        } else {
            Kind::Text
        }
    }

    /// Whether there may be several values.
    pub(crate) fn is_list(self) -> bool {
        matches!(self.0.get_action(), ArgAction::Append)
    }

    /// Whether a value may be, or hold, what must not be shown. Its flag hides the value of its variable.
    pub(crate) fn is_secret(self) -> bool {
        self.0.is_hide_env_values_set()
    }

    /// The form of a value.
    pub(crate) fn form(self) -> String {
        if self.kind() == Kind::Boolean {
            return "true|false".to_owned();
        }
        let possible = self.0.get_possible_values();
        if !possible.is_empty() {
            let names: Vec<_> = possible.iter().map(|value| value.get_name()).collect();
            return names.join("|");
        }
        let names = self.0.get_value_names().unwrap_or_default();
        names.first().map_or_else(|| "VALUE".to_owned(), ToString::to_string)
    }

    /// Whether its flag has no value.
    #[cfg(test)]
    pub(crate) fn is_switch(self) -> bool {
        matches!(self.0.get_action(), ArgAction::SetTrue)
    }

    #[cfg(test)]
    pub(crate) fn help(self) -> String {
        self.0.get_help().map(ToString::to_string).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn defaults(self) -> Vec<String> {
        let defaults = self.0.get_default_values().iter();
        let mut defaults: Vec<_> = defaults.map(|value| value.to_string_lossy().into_owned()).collect();
        if self.is_switch() {
            defaults = vec!["false".to_owned()];
        }
        defaults
    }

    /// A value as it may be shown.
    pub(crate) fn shown(self, value: &str) -> String {
        if !self.is_secret() {
            return value.to_owned();
        }
        match self.form().as_str() {
            "URL" => goku_server::without_password(value),
            _ => "***".to_owned(),
        }
    }
}
