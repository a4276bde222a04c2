// SPDX-License-Identifier: BSD-2-Clause
//! Finds each `unsafe` of a file, and whether a comment tells why it is sound. The file is
//! taken apart by `syn`; what macros are given and made of is looked at token by token.

use std::fmt;

use anyhow::Result;
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What is unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Code that vouches for what it does.
    Block,
    /// A function, or a trait's method, whose caller must.
    Function,
    /// An implementation that vouches for its type.
    Impl,
    /// A trait whose implementations must.
    Trait,
    /// A block of foreign functions.
    Foreign,
    /// An attribute, such as `no_mangle`.
    Attribute,
}

impl Kind {
    /// What is unsafe in a macro, by the token behind that word.
    fn before(next: Option<&TokenTree>) -> Self {
        match next {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                Self::Attribute
            }
            Some(TokenTree::Group(_)) => Self::Block,
            Some(TokenTree::Ident(word)) if word == "impl" => Self::Impl,
            Some(TokenTree::Ident(word)) if word == "trait" => Self::Trait,
            _ => Self::Function,
        }
    }

    /// The comment it must have.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::Function | Self::Trait => "`# Safety` in its documentation",
            _ => "`// SAFETY:` above it",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Block => "unsafe block",
            Self::Function => "unsafe function",
            Self::Impl => "unsafe impl",
            Self::Trait => "unsafe trait",
            Self::Foreign => "unsafe extern",
            Self::Attribute => "unsafe attribute",
        })
    }
}

/// One `unsafe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) kind: Kind,
    /// From 1.
    pub(super) line: usize,
    /// Whether it has the comment it must have.
    pub(super) is_explained: bool,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) blocks: usize,
    pub(super) functions: usize,
    /// Traits and what implements them.
    pub(super) impls: usize,
    /// Foreign blocks and attributes.
    pub(super) other: usize,
}

impl Count {
    pub(super) fn add(&mut self, kind: Kind) {
        *match kind {
            Kind::Block => &mut self.blocks,
            Kind::Function => &mut self.functions,
            Kind::Impl | Kind::Trait => &mut self.impls,
            Kind::Foreign | Kind::Attribute => &mut self.other,
        } += 1;
    }

    pub(super) fn all(&self) -> usize {
        self.blocks + self.functions + self.impls + self.other
    }
}

/// All of a file's, in no order.
///
/// # Errors
/// If it is no Rust.
pub(super) fn uses(text: &str) -> Result<Vec<Use>> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder {
        lines: text.lines().map(str::trim).collect(),
        anchors: Vec::new(),
        is_said_elsewhere: false,
        found: Vec::new(),
    };
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'t> {
    lines: Vec<&'t str>,
    /// First lines of the statements, arms, fields and items around, the innermost last.
    anchors: Vec<usize>,
    /// Whether what holds for a function is said elsewhere, by the trait that it implements.
    is_said_elsewhere: bool,
    found: Vec<Use>,
}

impl Finder<'_> {
    fn note(&mut self, kind: Kind, span: Span) {
        let line = span.start().line;
        let is_explained = match kind {
            Kind::Function if self.is_said_elsewhere => true,
            Kind::Function | Kind::Trait => self.has_above(line, "# Safety"),
            // Which symbol it makes is seen where it stands.
            Kind::Attribute => true,
            _ => {
                let statement = self.anchors.last().copied().unwrap_or(line);
                self.has_above(line, "SAFETY:") || self.has_above(statement, "SAFETY:")
            }
        };
        self.found.push(Use {
            kind,
            line,
            is_explained,
        });
    }

    /// Whether the comment, or documentation, that ends right above a line says this.
    /// Attributes may stand between.
    fn has_above(&self, line: usize, text: &str) -> bool {
        self.lines[..line - 1]
            .iter()
            .rev()
            .take_while(|line| {
                line.starts_with("//") || line.starts_with("#[") || line.ends_with(")]")
            })
            .any(|line| line.contains(text))
    }

    fn within(&mut self, span: Span, visit: impl FnOnce(&mut Self)) {
        self.anchors.push(span.start().line);
        visit(self);
        self.anchors.pop();
    }

    /// Looks through what a macro is given, or is made of.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let (mut is_impl, mut is_of_trait) = (false, false);
        while let Some(token) = tokens.next() {
            let before = self.is_said_elsewhere;
            match token {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Brace {
                        self.is_said_elsewhere |= is_of_trait;
                        (is_impl, is_of_trait) = (false, false);
                    }
                    self.tokens(group.stream());
                }
                TokenTree::Ident(word) if word == "impl" => is_impl = true,
                TokenTree::Ident(word) if word == "for" => is_of_trait = is_impl,
                TokenTree::Ident(word) if word == "unsafe" => {
                    let next = tokens.peek();
                    let is_for_c = next.is_some_and(|next| next.to_string() == "extern");
                    self.is_said_elsewhere |= is_for_c;
                    self.note(Kind::before(next), word.span());
                }
                _ => {}
            }
            self.is_said_elsewhere = before;
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_unsafe(&mut self, node: &'ast syn::ExprUnsafe) {
        self.note(Kind::Block, node.unsafe_token.span);
        visit::visit_expr_unsafe(self, node);
    }

    fn visit_signature(&mut self, node: &'ast syn::Signature) {
        if let syn::Safety::Unsafe(token) = &node.safety {
            // Who calls a function of C's kind is C, by what its header says.
            let is_for_c = node.abi.is_some();
            let before = self.is_said_elsewhere;
            self.is_said_elsewhere |= is_for_c;
            self.note(Kind::Function, token.span);
            self.is_said_elsewhere = before;
        }
        visit::visit_signature(self, node);
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if let Some(token) = &node.unsafety {
            self.note(Kind::Impl, token.span);
        }
        let before = std::mem::replace(&mut self.is_said_elsewhere, node.trait_.is_some());
        visit::visit_item_impl(self, node);
        self.is_said_elsewhere = before;
    }

    fn visit_item_trait(&mut self, node: &'ast syn::ItemTrait) {
        if let Some(token) = &node.unsafety {
            self.note(Kind::Trait, token.span);
        }
        let before = std::mem::replace(&mut self.is_said_elsewhere, false);
        visit::visit_item_trait(self, node);
        self.is_said_elsewhere = before;
    }

    fn visit_item_foreign_mod(&mut self, node: &'ast syn::ItemForeignMod) {
        if let Some(token) = &node.unsafety {
            self.note(Kind::Foreign, token.span);
        }
        visit::visit_item_foreign_mod(self, node);
    }

    fn visit_meta_list(&mut self, node: &'ast syn::MetaList) {
        if node.path.is_ident("unsafe") {
            self.note(Kind::Attribute, node.path.span());
        }
        visit::visit_meta_list(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        self.tokens(node.tokens.clone());
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        let before = std::mem::replace(&mut self.is_said_elsewhere, false);
        visit::visit_item_fn(self, node);
        self.is_said_elsewhere = before;
    }

    fn visit_stmt(&mut self, node: &'ast syn::Stmt) {
        self.within(node.span(), |this| visit::visit_stmt(this, node));
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        self.within(node.span(), |this| visit::visit_arm(this, node));
    }

    fn visit_field_value(&mut self, node: &'ast syn::FieldValue) {
        self.within(node.span(), |this| visit::visit_field_value(this, node));
    }

    fn visit_item(&mut self, node: &'ast syn::Item) {
        self.within(node.span(), |this| visit::visit_item(this, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Kind, usize, bool)> {
        let uses = uses(text).unwrap();
        uses.iter()
            .map(|one| (one.kind, one.line, one.is_explained))
            .collect()
    }

    #[test]
    fn a_statement_may_carry_the_comment_of_its_block() {
        let text = "fn f() {\n// SAFETY: why.\nlet a = g(\nunsafe { h() },\n);\nlet b = unsafe { h() };\n}";
        let wanted = [(Kind::Block, 4, true), (Kind::Block, 6, false)];
        assert_eq!(found(text), wanted);
    }

    #[test]
    fn functions_and_traits_have_their_documentation() {
        let text = "/// # Safety\n/// When.\n#[inline]\npub unsafe fn f() {}\nunsafe fn g() {}\n\
                    /// # Safety\nunsafe trait T {}\n// SAFETY: so.\nunsafe impl T for u8 {\nunsafe fn h() {}\n}";
        let wanted = [
            (Kind::Function, 4, true),
            (Kind::Function, 5, false),
            (Kind::Trait, 7, true),
            (Kind::Impl, 9, true),
            (Kind::Function, 10, true),
        ];
        assert_eq!(found(text), wanted);
    }

    #[test]
    fn macros_hide_nothing() {
        let text = "macro_rules! m { ($t:ty) => {\n// SAFETY: so.\nunsafe impl Send for $t {}\n\
                    impl T for $t {\nunsafe fn f() {}\n} } }\nfn f() { m!(unsafe { g() }); }";
        let wanted = [
            (Kind::Impl, 3, true),
            (Kind::Function, 5, true),
            (Kind::Block, 7, false),
        ];
        assert_eq!(found(text), wanted);
    }

    #[test]
    fn a_word_in_a_comment_or_a_pointers_type_is_none() {
        let text =
            "//! unsafe {}\nstatic S: &str = \"unsafe {}\";\ntype F = unsafe extern \"C\" fn();";
        assert_eq!(found(text), []);
    }

    #[test]
    fn attributes_and_foreign_functions_count() {
        let text = "#[unsafe(no_mangle)]\nextern \"C\" fn f() {}\nunsafe extern \"C\" { fn g(); }";
        let wanted = [(Kind::Attribute, 1, true), (Kind::Foreign, 3, false)];
        assert_eq!(found(text), wanted);
    }
}
