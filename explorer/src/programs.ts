/** Runs what `torch.export` has written down: a list of operators on tensors, with the weights they need. */

import { bytesOf, numbersAt, type Arr, type Numbers } from "./arrays";
import { operators as linear } from "./operators/linear";
import { operators as pointwise } from "./operators/pointwise";
import { operators as reductions } from "./operators/reductions";
import { operators as shapes } from "./operators/shapes";
import { isTensor, sizeOf, type Argument, type Operator, type Tensor, type Values } from "./operators/tensor";

export type { Tensor } from "./operators/tensor";

export interface Node {
  op: string;
  in: unknown[];
  out: string | string[];
}

/** Where a constant lies in the weights, and how it is read. */
export interface Constant {
  shape: number[];
  dtype: Arr["dtype"];
  offset: number;
}

/** The constants of all programs, base64; what several read is unpacked once. */
export class Weights {
  private readonly bytes: Uint8Array;
  private readonly read = new Map<string, Numbers>();

  constructor(base64: string) {
    this.bytes = bytesOf(base64);
  }

  tensor({ shape, dtype, offset }: Constant): Tensor {
    const count = sizeOf(shape);
    const key = `${dtype} ${offset} ${count}`;
    const data = this.read.get(key) ?? numbersAt(this.bytes, dtype, offset, count);
    this.read.set(key, data);
    return { shape, data: data as Values };
  }
}

export interface Program {
  inputs: string[];
  /** How many numbers each input has of a row. */
  sizes?: number[];
  outputs: string[];
  constants: { [id: string]: Constant };
  nodes: Node[];
}

/** An output of an operator that has several. */
const getitem: Operator = (values: Tensor[], at: number) => values[at]!;

export const OPERATORS: Record<string, Operator> = { ...shapes, ...pointwise, ...linear, ...reductions, getitem };

type Value = Tensor | Tensor[];
type Known = Map<string, Value>;

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);

/** The names that an argument asks for; "batch" where it is the number of rows. */
function needs(value: unknown, into: Set<string>): Set<string> {
  if (Array.isArray(value)) value.forEach((v) => needs(v, into));
  else if (isObject(value)) into.add("id" in value ? String(value.id) : "batch");
  return into;
}

const NUMBERS: Record<string, number> = { inf: Infinity, "-inf": -Infinity, nan: NaN };

function argument(value: unknown, known: Known, batch: number): Argument | Value {
  if (Array.isArray(value)) return value.map((v) => argument(v, known, batch) as Argument);
  if (!isObject(value)) return value as Argument;
  if ("id" in value) {
    const found = known.get(String(value.id));
    if (!found) throw new Error(`the program has no value ${String(value.id)}`);
    return found;
  }
  // Infinity has no JSON: {"number": "-inf"}. A multiple of the batch: {"batch": true, "times": 4}.
  if ("number" in value) return NUMBERS[String(value.number)]!;
  return batch * (typeof value.times === "number" ? value.times : 1);
}

/** A program that is ready: what depends on weights alone has been computed, and each value is let go after its last use. */
export class Ready {
  private readonly constants: Known = new Map();
  private readonly steps: { node: Node; run: Operator; done: string[] }[] = [];

  constructor(private readonly program: Program, weights: Weights) {
    for (const [id, constant] of Object.entries(program.constants)) this.constants.set(id, weights.tensor(constant));
    const varying = new Set<string>([...program.inputs, "batch"]);
    const pending: Node[] = [];
    for (const node of program.nodes) {
      const run = OPERATORS[node.op];
      if (!run) throw new Error(`this page has no operator ${node.op}`);
      if ([...needs(node.in, new Set())].some((id) => varying.has(id))) {
        for (const id of [node.out].flat()) varying.add(id);
        pending.push(node);
      } else assign(this.constants, node, apply(node, run, this.constants, 0));
    }
    const last = new Map<string, number>();
    pending.forEach((node, i) => needs(node.in, new Set()).forEach((id) => last.set(id, i)));
    pending.forEach((node, i) => {
      const done = [...needs(node.in, new Set())].filter((id) => last.get(id) === i && !program.outputs.includes(id));
      this.steps.push({ node, run: OPERATORS[node.op]!, done });
    });
  }

  get inputs(): string[] {
    return this.program.inputs;
  }

  get sizes(): number[] | undefined {
    return this.program.sizes;
  }

  run(...inputs: Tensor[]): Tensor[] {
    const known: Known = new Map(this.constants);
    this.program.inputs.forEach((id, i) => known.set(id, inputs[i]!));
    const batch = inputs[0]?.shape[0] ?? 1;
    for (const { node, run, done } of this.steps) {
      assign(known, node, apply(node, run, known, batch));
      for (const id of done) known.delete(id);
    }
    return this.program.outputs.map((id) => known.get(id) as Tensor);
  }
}

function apply(node: Node, run: Operator, known: Known, batch: number): Value {
  try {
    return run(...node.in.map((v) => argument(v, known, batch)));
  } catch (error) {
    throw new Error(`${node.op}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function assign(known: Known, node: Node, value: Value): void {
  if (typeof node.out === "string") known.set(node.out, value);
  else if (isTensor(value)) known.set(node.out[0]!, value);
  else node.out.forEach((id, i) => value[i] && known.set(id, value[i]!));
}
