//! The imports between the source files of a crate, as far as their text shows, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::tokens::{self, Token};

/// The names from the root of the crate to a module; that of the root is empty.
type ModulePath = Vec<String>;

/// More aliases of aliases than a path goes through.
const ALIASES_MAX: usize = 16;

/// The modules of one crate, read from its root along `mod` lines; those under `#[cfg(test)]` are left out.
#[derive(Default)]
pub(super) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// What a module declares and names.
#[derive(Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    /// Names that `use` brings in, public or not: a child may name what its parent imports.
    aliases: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Aliases that are public, wholly or in part.
    published: BTreeSet<String>,
    /// Names outside of `use`.
    names: BTreeSet<String>,
    /// Paths outside of `use`.
    paths: Vec<Vec<String>>,
}

/// What a path leads to.
enum Target {
    Module(ModulePath),
    /// An item in the file that defines it.
    Item(String),
}

/// For each file the files that it imports from, each with a path that leads there.
pub(super) type Imports = BTreeMap<String, BTreeMap<String, String>>;

impl Crate {
    /// Reads the crate whose root files are in this folder.
    pub(super) fn read(src: &Path) -> Crate {
        Crate::parse(&|file| fs::read_to_string(src.join(file)).ok())
    }

    /// Reads a crate from the texts of its files. A library and a binary beside it are read as one.
    pub(super) fn parse(text_of: &dyn Fn(&str) -> Option<String>) -> Crate {
        let mut read = Crate::default();
        for root in ["lib.rs", "main.rs"] {
            if let Some(text) = text_of(root) {
                read.add_file(&ModulePath::new(), root, &text, text_of);
            }
        }
        read
    }

    /// The number of files, so that a test can tell that it read some.
    pub(super) fn files(&self) -> usize {
        self.modules
            .values()
            .map(|module| &module.file)
            .collect::<BTreeSet<_>>()
            .len()
    }

    fn add_file(&mut self, at: &ModulePath, file: &str, text: &str, text_of: &dyn Fn(&str) -> Option<String>) {
        let tokens = tokens::without_tests(tokens::of(text));
        let mut children = Vec::new();
        self.add_module(at, file, &tokens, &mut children);
        for child in children {
            let child_file = format!("{}.rs", child.join("/"));
            let text =
                text_of(&child_file).unwrap_or_else(|| panic!("{file} declares {child_file}, which is not there"));
            self.add_file(&child, &child_file, &text, text_of);
        }
    }

    fn add_module(&mut self, at: &ModulePath, file: &str, tokens: &[Token], children: &mut Vec<ModulePath>) {
        let mut module = self.modules.remove(at).unwrap_or_default();
        if module.file.is_empty() {
            module.file = file.to_owned();
        }
        let mut rest = tokens;
        let mut before = "";
        while let [token, after @ ..] = rest {
            rest = after;
            match (token.as_str(), after) {
                ("mod", [name, next, body @ ..]) if next == "{" => {
                    let end = tokens::end_of_block(body);
                    self.add_module(&child_of(at, name), file, &body[..end], children);
                    rest = &body[end..];
                }
                ("mod", [name, next, ..]) if next == ";" => children.push(child_of(at, name)),
                ("use", _) => {
                    let end = after.iter().position(|token| token == ";").unwrap_or(after.len());
                    module.add_use(before == "pub" || before == ")", &[], &after[..end]);
                    rest = &after[end..];
                }
                _ if tokens::is_name(token) => rest = module.add_code(token, after),
                _ => {}
            }
            before = token;
        }
        self.modules.insert(at.clone(), module);
    }

    /// The other files that each file imports from.
    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (at, module) in &self.modules {
            let from = imports.entry(module.file.clone()).or_default();
            let mut add = |path: &[String], file: &str| {
                if module.file != file {
                    from.entry(file.to_owned()).or_insert_with(|| path.join("::"));
                }
            };
            for (name, path) in &module.aliases {
                // A module that is imported is a name: what is used of it stands in the paths that begin with it.
                let Some(Target::Item(file)) = self.resolve(at, path, 0) else {
                    continue;
                };
                // What a module only hands on from inside of it is imported by those who take it from there.
                let is_used = module.names.contains(name) || !module.published.contains(name);
                if is_used || !is_inside(&file, &module.file) {
                    add(path, &file);
                }
            }
            for path in module.paths.iter().chain(&module.globs) {
                match self.resolve(at, path, 0) {
                    Some(Target::Item(file)) => add(path, &file),
                    Some(Target::Module(module)) => add(path, &self.modules[&module].file),
                    None => {}
                }
            }
        }
        imports
    }

    /// What a path in a module leads to; `None` where that is in another crate.
    fn resolve(&self, at: &ModulePath, path: &[String], aliases: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(&ModulePath::new(), rest, aliases),
            "self" => self.walk(at, rest, aliases),
            "super" => {
                let parent = at.split_last()?.1.to_vec();
                if rest.first().is_some_and(|next| next == "super") {
                    self.resolve(&parent, rest, aliases)
                } else {
                    self.walk(&parent, rest, aliases)
                }
            }
            _ => self
                .find(at, first, aliases)
                .and_then(|found| self.go_on(found, rest, aliases)),
        }
    }

    fn walk(&self, at: &ModulePath, path: &[String], aliases: usize) -> Option<Target> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Target::Module(at.clone()));
        };
        match self.find(at, first, aliases) {
            Some(found) => self.go_on(found, rest, aliases),
            // A macro, or what a macro defines.
            None => Some(Target::Item(self.modules[at].file.clone())),
        }
    }

    fn go_on(&self, found: Target, rest: &[String], aliases: usize) -> Option<Target> {
        match found {
            Target::Module(module) => self.walk(&module, rest, aliases),
            // What follows an item is a variant or something associated.
            Target::Item(file) => Some(Target::Item(file)),
        }
    }

    /// What a name is in a module, be it declared or imported there.
    fn find(&self, at: &ModulePath, name: &str, aliases: usize) -> Option<Target> {
        let module = &self.modules[at];
        let child = child_of(at, name);
        if self.modules.contains_key(&child) {
            return Some(Target::Module(child));
        }
        if module.items.contains(name) {
            return Some(Target::Item(module.file.clone()));
        }
        if aliases == ALIASES_MAX {
            return None;
        }
        if let Some(path) = module.aliases.get(name) {
            return self.resolve(at, path, aliases + 1);
        }
        module
            .globs
            .iter()
            .find_map(|glob| match self.resolve(at, glob, aliases + 1)? {
                Target::Module(from) if from != *at => self.find(&from, name, aliases + 1),
                _ => None,
            })
    }

    /// The circles of files, but for those that are of a module and its own children.
    pub(super) fn circles(&self) -> Vec<Circle> {
        circles_of(self.imports())
    }
}

/// Files each of which imports from the others, directly or through them.
pub(super) struct Circle {
    pub(super) files: BTreeSet<String>,
    /// Each import inside the circle, a line.
    pub(super) text: String,
}

impl Module {
    /// Adds the item or the path that begins with a name, and returns what follows.
    fn add_code<'a>(&mut self, first: &Token, after: &'a [Token]) -> &'a [Token] {
        const ITEMS: [&str; 8] = ["struct", "enum", "union", "trait", "fn", "const", "static", "type"];
        if let [name, ..] = after
            && ITEMS.contains(&first.as_str())
        {
            self.items.insert(name.clone());
        }
        self.names.insert(first.clone());
        let length = tokens::path_length(first, after);
        let (path, rest) = after.split_at(3 * (length - 1));
        if length > 1 {
            let names = [first]
                .into_iter()
                .chain(path.iter().filter(|token| tokens::is_name(token)));
            self.paths.push(names.cloned().collect());
        }
        rest
    }

    /// Adds what a tree of `use` brings in below a prefix.
    fn add_use(&mut self, is_public: bool, prefix: &[String], tree: &[Token]) {
        for branch in tokens::split_at_commas(tree) {
            let mut path = prefix.to_vec();
            let mut name = None;
            let mut rest = branch;
            while let [token, after @ ..] = rest {
                rest = after;
                match token.as_str() {
                    "{" => {
                        self.add_use(is_public, &path, &after[..tokens::end_of_block(after)]);
                        path.clear();
                        break;
                    }
                    "*" => {
                        self.globs.push(std::mem::take(&mut path));
                        break;
                    }
                    "as" => {
                        name = after.first();
                        break;
                    }
                    "self" if !path.is_empty() => {}
                    token if tokens::is_name(token) => path.push(token.to_owned()),
                    _ => {}
                }
            }
            if let Some(name) = name.or(path.last()).cloned() {
                // Two imports of one name are those of two configurations, or of two functions.
                let name = if self.aliases.contains_key(&name) {
                    format!("{name} again")
                } else {
                    name
                };
                if is_public {
                    self.published.insert(name.clone());
                }
                self.aliases.insert(name, path);
            }
        }
    }
}

fn child_of(module: &ModulePath, name: &str) -> ModulePath {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The circles among these imports. Children may import from their module, though it imports from them: where a circle is of
/// one module and files inside of it, it is looked at again without the imports from that module.
fn circles_of(imports: Imports) -> Vec<Circle> {
    let reached: BTreeMap<_, _> = imports
        .keys()
        .map(|file| (file, reached_from(&imports, file)))
        .collect();
    let circle_of = |file| {
        reached[file]
            .iter()
            .filter(|other| reached[*other].contains(file))
            .cloned()
            .collect()
    };
    let all: BTreeSet<BTreeSet<String>> = imports
        .keys()
        .map(circle_of)
        .filter(|circle: &BTreeSet<_>| !circle.is_empty())
        .collect();
    let found = all.into_iter().map(|files| {
        let mut inside = imports.clone();
        inside.retain(|file, _| files.contains(file));
        inside
            .values_mut()
            .for_each(|from| from.retain(|file, _| files.contains(file)));
        match files
            .iter()
            .find(|module| files.iter().all(|file| is_inside(file, module)))
        {
            Some(module) => {
                inside.values_mut().for_each(|from| drop(from.remove(module)));
                circles_of(inside)
            }
            None => vec![Circle {
                text: description(&inside),
                files,
            }],
        }
    });
    found.flatten().collect()
}

/// Whether a file is that of a module or of one inside of it.
fn is_inside(file: &str, module: &str) -> bool {
    let folder = module.trim_end_matches(".rs");
    file == module
        || ["lib", "main"].contains(&folder)
        || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn reached_from(imports: &Imports, file: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = imports[file].keys().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file.clone()) {
            next.extend(imports[file].keys());
        }
    }
    reached
}

fn description(circle: &Imports) -> String {
    let mut text = format!("a circle of {} files:\n", circle.len());
    for (file, from) in circle {
        for (other, path) in from {
            writeln!(text, "  {file} imports from {other} ({path})").unwrap();
        }
    }
    text
}
