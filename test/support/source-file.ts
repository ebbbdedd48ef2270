/** Reads a TypeScript file into the facts that the rules of test/support/tidy-rules.ts judge. Judges nothing itself. */
import { parseSync } from 'vite';

/** One import of a module, static, dynamic or re-exported. */
export interface ImportFact {
  readonly specifier: string;
  /** Nothing of it is left at run time. */
  readonly isType: boolean;
  readonly line: number;
}

/** A function, method or arrow function with a body. */
export interface FunctionFact {
  readonly name: string;
  readonly line: number;
  readonly lineCount: number;
  /** The callback of a `describe`: as long as the tests in it. */
  readonly isSuite: boolean;
}

/** Something that a file exports by a declaration. */
export interface ExportFact {
  readonly name: string;
  readonly kind: 'class' | 'type' | 'value';
  readonly line: number;
  readonly endLine: number;
  /** A docstring stands directly above it. */
  readonly isDocumented: boolean;
  /** Comments stand inside it; for a type, at its members. */
  readonly hasCommentsInside: boolean;
}

/** A piece of syntax that some rule may not like, by its name. */
export interface SyntaxFact {
  readonly what: string;
  readonly line: number;
}

/** A parsed file. Paths are relative to the repository's root, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly lineCount: number;
  readonly opensWithComment: boolean;
  readonly imports: readonly ImportFact[];
  readonly functions: readonly FunctionFact[];
  readonly exports: readonly ExportFact[];
  /** Names that are not properties, parameters' keys or import clauses: `Date`, `Promise`, `setTimeout`, `process`… */
  readonly names: readonly SyntaxFact[];
  /** `any`, `!`, `enum`, `namespace`, `async`, `await`, `Math.random`, `it.skip`, `retry`… */
  readonly syntax: readonly SyntaxFact[];
  readonly comments: readonly SyntaxFact[];
}

interface AstNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

interface Comment {
  readonly type: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

const TEST_FUNCTIONS: ReadonlySet<string> = new Set(['it', 'test', 'describe', 'suite']);
const TEST_SKIPS: ReadonlySet<string> = new Set(['skip', 'only', 'todo', 'skipIf', 'runIf', 'fails']);

/**
 * Parses a file.
 *
 * @throws Error with the parser's words when it is not TypeScript
 */
export function readSource(path: string, text: string): SourceFile {
  const { program, comments, errors } = parseSync(path, text);
  const [error] = errors;
  if (error !== undefined) throw new Error(`Cannot parse ${path}: ${error.message}`);
  const reader = new Reader(text, comments);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the walk below checks every field it looks at
  reader.walk(program as unknown as AstNode, []);
  const first = comments[0];
  return {
    path,
    text,
    lineCount: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    opensWithComment:
      first !== undefined &&
      text
        .slice(0, first.start)
        .replace(/^#!.*\n/, '')
        .trim() === '',
    imports: reader.imports,
    functions: reader.functions,
    exports: reader.exports,
    names: reader.names,
    syntax: reader.syntax,
    comments: comments.map(({ value, start }) => ({ what: value, line: reader.lineAt(start) })),
  };
}

class Reader {
  readonly imports: ImportFact[] = [];
  readonly functions: FunctionFact[] = [];
  readonly exports: ExportFact[] = [];
  readonly names: SyntaxFact[] = [];
  readonly syntax: SyntaxFact[] = [];
  readonly #text: string;
  readonly #comments: readonly Comment[];
  readonly #lineStarts: readonly number[];

  constructor(text: string, comments: readonly Comment[]) {
    this.#text = text;
    this.#comments = comments;
    this.#lineStarts = [0, ...Array.from(text.matchAll(/\n/g), (match) => match.index + 1)];
  }

  /** Line of an offset, from 1. */
  lineAt(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  /** Visits a node and everything below it. `parents`: nearest last. */
  walk(node: AstNode, parents: readonly AstNode[]): void {
    this.#readModuleSyntax(node);
    this.#readFunction(node, parents);
    this.#readExport(node);
    this.#readSyntax(node);
    this.#readTestSyntax(node);
    if (node.type === 'Identifier' && !isMereKey(node, parents.at(-1)))
      this.names.push(this.#fact(textField(node, 'name'), node));
    const below = [...parents, node];
    for (const child of Object.values(node)) {
      if (isNode(child)) this.walk(child, below);
      else if (Array.isArray(child)) for (const item of child) if (isNode(item)) this.walk(item, below);
    }
  }

  #fact(what: string, node: AstNode): SyntaxFact {
    return { what, line: this.lineAt(node.start) };
  }

  #readModuleSyntax(node: AstNode): void {
    const isStatement = ['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration'].includes(
      node.type,
    );
    if (!isStatement && node.type !== 'ImportExpression' && node.type !== 'TSImportType') return;
    const source = isNode(node['source']) ? node['source'] : undefined;
    if (source === undefined || typeof source['value'] !== 'string') return;
    const specifiers = nodesIn(node, 'specifiers');
    const isType =
      node.type === 'TSImportType' ||
      node['importKind'] === 'type' ||
      node['exportKind'] === 'type' ||
      (specifiers.length > 0 &&
        specifiers.every((one) => one['importKind'] === 'type' || one['exportKind'] === 'type'));
    this.imports.push({ specifier: source['value'], isType, line: this.lineAt(node.start) });
  }

  #readFunction(node: AstNode, parents: readonly AstNode[]): void {
    if (!['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'].includes(node.type)) return;
    if (node['async'] === true) this.syntax.push(this.#fact('async', node));
    const parent = parents.at(-1);
    const line = this.lineAt(node.start);
    const named = isNode(node['id']) ? node['id'] : (fieldNode(parent, 'key') ?? fieldNode(parent, 'id'));
    const callee = parent?.type === 'CallExpression' ? fieldNode(parent, 'callee') : undefined;
    this.functions.push({
      name: named === undefined ? '(anonymous)' : this.#text.slice(named.start, named.end),
      line,
      lineCount: this.lineAt(node.end) - line + 1,
      isSuite: callee !== undefined && rootName(callee) === 'describe',
    });
  }

  #readExport(node: AstNode): void {
    if (node.type !== 'ExportNamedDeclaration' && node.type !== 'ExportDefaultDeclaration') return;
    const declaration = fieldNode(node, 'declaration');
    if (declaration === undefined) return;
    const declared = fieldNode(declaration, 'id') ?? nodesIn(declaration, 'declarations')[0];
    const name = fieldNode(declared, 'id') ?? declared;
    const isType = ['TSInterfaceDeclaration', 'TSTypeAliasDeclaration'].includes(declaration.type);
    const isClass = declaration.type === 'ClassDeclaration';
    this.exports.push({
      name: name === undefined ? 'default' : textField(name, 'name'),
      kind: isType ? 'type' : isClass ? 'class' : 'value',
      line: this.lineAt(node.start),
      endLine: this.lineAt(node.end),
      isDocumented: this.#hasDocstring(node.start),
      hasCommentsInside: this.#comments.some(({ start, end }) => start > node.start && end < node.end),
    });
  }

  /** Whether a docstring stands directly above, without an empty line between. */
  #hasDocstring(offset: number): boolean {
    const above = this.#comments.filter((comment) => comment.end <= offset).at(-1);
    if (above === undefined || above.type !== 'Block' || !above.value.startsWith('*')) return false;
    const between = this.#text.slice(above.end, offset);
    return between.trim() === '' && !/\n[ \t\r]*\n/.test(between);
  }

  #readSyntax(node: AstNode): void {
    if (node.type === 'TSAnyKeyword') this.syntax.push(this.#fact('any', node));
    if (node.type === 'TSNonNullExpression' || node['definite'] === true)
      this.syntax.push(this.#fact('!', node));
    if (node.type === 'TSEnumDeclaration') this.syntax.push(this.#fact('enum', node));
    if (node.type === 'TSModuleDeclaration') this.syntax.push(this.#fact('namespace', node));
    if (node.type === 'AwaitExpression') this.syntax.push(this.#fact('await', node));
    if (node.type === 'ForOfStatement' && node['await'] === true) this.syntax.push(this.#fact('await', node));
    if (node.type === 'MemberExpression') {
      const text = this.#text.slice(node.start, node.end).replaceAll(/[?\s]/g, '');
      if (text === 'Math.random' || text === "Math['random']")
        this.syntax.push(this.#fact('Math.random', node));
    }
  }

  #readTestSyntax(node: AstNode): void {
    if (node.type === 'MemberExpression' && TEST_FUNCTIONS.has(rootName(node))) {
      const property = fieldNode(node, 'property');
      const name = property === undefined ? '' : (property['name'] ?? property['value']);
      if (typeof name === 'string' && TEST_SKIPS.has(name))
        this.syntax.push(this.#fact(`${rootName(node)}.${name}`, node));
    }
    if (node.type !== 'CallExpression') return;
    const callee = fieldNode(node, 'callee');
    const root = callee === undefined ? '' : rootName(callee);
    if (!TEST_FUNCTIONS.has(root) && root !== 'defineConfig' && root !== 'vi') return;
    for (const argument of nodesIn(node, 'arguments')) {
      for (const name of propertyNames(argument))
        if (name === 'retry' || name === 'retries') this.syntax.push(this.#fact('retry', argument));
    }
  }
}

/** Names of the properties of an object literal, and of those inside it. */
function propertyNames(node: AstNode): readonly string[] {
  if (node.type !== 'ObjectExpression') return [];
  return nodesIn(node, 'properties').flatMap((property) => {
    const key = fieldNode(property, 'key');
    const value = fieldNode(property, 'value');
    return [
      key === undefined ? '' : textField(key, 'name'),
      ...(value === undefined ? [] : propertyNames(value)),
    ];
  });
}

/** `describe` for `describe.each(rows)`. */
function rootName(node: AstNode): string {
  if (node.type === 'Identifier') return textField(node, 'name');
  const below = fieldNode(node, 'object') ?? fieldNode(node, 'callee') ?? fieldNode(node, 'tag');
  return below === undefined ? '' : rootName(below);
}

/** Whether an identifier only names a member: `x.date`, `{ date: 1 }`, `import { date as x }`. */
function isMereKey(node: AstNode, parent: AstNode | undefined): boolean {
  if (parent === undefined) return false;
  if (parent.type === 'ImportSpecifier' || parent.type === 'ExportSpecifier') return true;
  if (parent.type === 'TSQualifiedName') return parent['right'] === node;
  if (parent['computed'] === true) return false;
  if (parent.type === 'MemberExpression') return parent['property'] === node;
  return parent['key'] === node && parent['shorthand'] !== true;
}

function fieldNode(node: AstNode | undefined, field: string): AstNode | undefined {
  const value = node?.[field];
  return isNode(value) ? value : undefined;
}

function nodesIn(node: AstNode, field: string): readonly AstNode[] {
  const value = node[field];
  return Array.isArray(value) ? value.filter((item) => isNode(item)) : [];
}

function textField(node: AstNode, field: string): string {
  const value = node[field];
  return typeof value === 'string' ? value : '';
}

function isNode(value: unknown): value is AstNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}
