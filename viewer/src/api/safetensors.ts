/** Reads the format safetensors: eight bytes with the length of a JSON header, the header, the arrays. */

const TYPES = {
  U8: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  I64: BigInt64Array,
  F32: Float32Array,
  F64: Float64Array,
} as const;
type Types = typeof TYPES;

export interface Tensors {
  /** What the header says beside the arrays. */
  metadata: Record<string, string>;
  /** An array by its name and type, as the header must have it. */
  array<T extends keyof Types>(name: string, dtype: T): InstanceType<Types[T]>;
  shape(name: string): number[];
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

export function readSafetensors(buffer: ArrayBuffer): Tensors {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as Record<string, Entry>;
  const { __metadata__, ...entries } = header as Record<string, Entry> & { __metadata__?: Record<string, string> };
  const entry = (name: string): Entry => {
    const found = entries[name];
    if (!found) throw new Error(`The answer has no array ${name}; it has ${Object.keys(entries).join(", ")}.`);
    return found;
  };
  return {
    metadata: __metadata__ ?? {},
    shape: (name) => entry(name).shape,
    array<T extends keyof Types>(name: string, dtype: T) {
      const { dtype: found, data_offsets } = entry(name);
      if (found !== dtype) throw new Error(`The array ${name} is of ${found}; expected ${dtype}.`);
      const type = TYPES[dtype] as unknown as {
        new (buffer: ArrayBuffer, offset: number, length: number): InstanceType<Types[T]>;
        BYTES_PER_ELEMENT: number;
      };
      const [begin, end] = [8 + length + data_offsets[0], 8 + length + data_offsets[1]];
      const count = (end - begin) / type.BYTES_PER_ELEMENT;
      // an array may begin anywhere, a typed array only at a multiple of its element
      return begin % type.BYTES_PER_ELEMENT === 0
        ? new type(buffer, begin, count)
        : new type(buffer.slice(begin, end), 0, count);
    },
  };
}
