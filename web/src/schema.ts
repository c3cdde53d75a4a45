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

const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? "nothing";

/** What is wrong with a value, as "input.width: expected integer, found "1""; null where nothing is. */
export function fault(schema: Schema, value: unknown, where = "", root: Schema = schema): string | null {
  const told = (what: string) => `${where}${where && ": "}${what}, found ${shown(value)}`;
  if (schema.$ref) return fault(root.$defs![schema.$ref.split("/").pop()!], value, where, root);
  if (schema.anyOf) {
    if (value === null && schema.anyOf.some((one) => one.type === "null")) return null;
    const others = schema.anyOf.filter((one) => one.type !== "null");
    return others.map((one) => fault(one, value, where, root)).reduce((least, one) => (least === null ? null : one));
  }
  if ("const" in schema) return value === schema.const ? null : told(`expected ${shown(schema.const)}`);
  if (schema.enum) return schema.enum.includes(value) ? null : told(`expected ${schema.enum.join(" or ")}`);
  switch (schema.type) {
    case "object":
      if (typeof value !== "object" || value === null || Array.isArray(value)) return told("expected object");
      return objectFault(schema, value as Record<string, unknown>, where, root);
    case "array": {
      if (!Array.isArray(value)) return told("expected array");
      const [least, most] = [schema.minItems ?? 0, schema.maxItems ?? Infinity];
      if (value.length < least || value.length > most) {
        return `${where}: expected ${least === most ? least : `${least} to ${most}`} items, found ${value.length}`;
      }
      return first(value.map((item, index) => () => fault(schema.items ?? {}, item, `${where}[${index}]`, root)));
    }
    case "integer":
    case "number": {
      const whole = schema.type === "integer";
      if (typeof value !== "number" || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
        return told(`expected ${whole ? "whole number" : "finite number"}`);
      }
      const inside =
        value >= (schema.minimum ?? -Infinity) &&
        value <= (schema.maximum ?? Infinity) &&
        value > (schema.exclusiveMinimum ?? -Infinity) &&
        value < (schema.exclusiveMaximum ?? Infinity);
      const bounds = (["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] as const)
        .filter((name) => schema[name] !== undefined)
        .map((name) => `${name} ${schema[name]}`);
      if (whole && Math.abs(value) >= 2 ** 63) return told("expected a number of at most 64 bits");
      return inside ? null : told(`expected ${bounds.join(", ")}`);
    }
    case "string":
    case "boolean":
      return typeof value === schema.type ? null : told(`expected ${schema.type}`);
    default:
      return null;
  }
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
