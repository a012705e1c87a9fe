// Reads a CSV file as a spreadsheet does, formulas included, and prints the rows as shown and the cells with formulas.
import { readFileSync } from "node:fs";
import XLSX from "xlsx";

const [sheet] = Object.values(XLSX.read(readFileSync(process.argv[2])).Sheets);
const formulas = Object.keys(sheet).filter((place) => sheet[place].f !== undefined);
console.log(JSON.stringify({ rows: XLSX.utils.sheet_to_json(sheet, { raw: false, defval: "" }), formulas }));
