/** JSON Schema, as much of it as the contract's uses: `avatar.schema.json` is what Python holds avatar.json to. */

export interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  $ref?: string;
  $defs?: Record<string, Schema>;
}

// What is expected is told in the words of bilayer.runtime.typed_json
const WORDS: Record<string, string> = { object: "object", array: "array", integer: "int", number: "float", string: "str", boolean: "bool" };

const shown = (value: unknown) => (typeof value === "number" ? String(value) : (JSON.stringify(value)?.slice(0, 60) ?? "nothing"));

/** What is wrong with a value, as "input.width: expected int, found "1""; null where nothing is. `or`: what it may be, too. */
export function fault(schema: Schema, value: unknown, where = "", root: Schema = schema, or = ""): string | null {
  const told = (what: string) => `${where}${where && ": "}${what}, found ${shown(value)}`;
  if (schema.$ref) return fault(root.$defs![schema.$ref.split("/").pop()!], value, where, root, or);
  if (schema.anyOf) {
    const others = schema.anyOf.filter((one) => one.type !== "null");
    const nullable = others.length < schema.anyOf.length;
    if (value === null && nullable) return null;
    const faults = others.map((one) => fault(one, value, where, root, nullable ? " | null" : ""));
    return faults.reduce((least, one) => (least === null ? null : one));
  }
  if ("const" in schema) return value === schema.const ? null : told(`expected ${shown(schema.const)}`);
  if (schema.enum) return schema.enum.includes(value) ? null : told(`expected ${schema.enum.join(" or ")}`);
  const expected = `expected ${WORDS[schema.type ?? ""]}`;
  switch (schema.type) {
    case "object":
      if (typeof value !== "object" || value === null || Array.isArray(value)) return told(expected + or);
      return objectFault(schema, value as Record<string, unknown>, where, root);
    case "array": {
      if (!Array.isArray(value)) return told(expected + or);
      const beyond = outside(value.length, { minimum: schema.minItems, maximum: schema.maxItems });
      if (beyond !== null) return `${where}: ${expected} of length ${beyond}, found ${value.length} items`;
      return first(value.map((item, index) => () => fault(schema.items ?? {}, item, `${where}[${index}]`, root)));
    }
    case "integer":
    case "number": {
      const whole = schema.type === "integer";
      if (typeof value !== "number" || (whole && !Number.isInteger(value))) return told(expected + or);
      const beyond = outside(value, schema);
      if (beyond !== null) return told(`${expected} ${beyond}${!whole && /^[^.]*$/.test(beyond) ? ".0" : ""}`);
      if (whole && (value >= 2 ** 63 || value < -(2 ** 63))) return told("expected a number of at most 64 bits");
      return Number.isFinite(value) ? null : told("expected a finite number");
    }
    case "string":
    case "boolean":
      return typeof value === schema.type ? null : told(expected + or);
    default:
      return null;
  }
}

/** The bound that a number does not keep, as ">= 1"; null where it keeps all. */
function outside(value: number, { minimum, exclusiveMinimum, maximum, exclusiveMaximum }: Schema): string | null {
  if (minimum !== undefined && value < minimum) return `>= ${minimum}`;
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) return `> ${exclusiveMinimum}`;
  if (maximum !== undefined && value > maximum) return `<= ${maximum}`;
  if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) return `< ${exclusiveMaximum}`;
  return null;
}

function objectFault(schema: Schema, value: Record<string, unknown>, where: string, root: Schema): string | null {
  const joined = (name: string) => (where ? `${where}.${name}` : name);
  const known = schema.properties ?? {};
  const missing = (schema.required ?? []).find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return `${joined(missing)}: missing`;
  return first(
    Object.entries(value).map(([name, item]) => () => {
      if (Object.hasOwn(known, name)) return fault(known[name], item, joined(name), root);
      const extra = schema.additionalProperties;
      if (typeof extra === "object") return fault(extra, item, joined(name), root);
      return extra === false ? `${joined(name)}: unknown; expected ${Object.keys(known).join(", ")}` : null;
    }),
  );
}

function first(checks: (() => string | null)[]): string | null {
  for (const check of checks) {
    const found = check();
    if (found !== null) return found;
  }
  return null;
}
