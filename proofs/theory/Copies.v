(** Maps that copy entries, diagonal maps, isometric maps, and products of matrices.

    A copying map makes y_i = x_(index i), or 0: indexing, slicing, transposing, zero padding, circular padding. The square of
    its norm is at most the largest number of copies of one entry.

    Not said: that a given operation of a program is this map; that the bounds are the least ones. *)

From Coq Require Import Arith Bool Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** ** Counting *)

(** How many i < m satisfy p. *)
Fixpoint count (m : nat) (p : nat -> bool) : nat :=
  match m with
  | O => O
  | S k => count k p + (if p k then 1 else 0)
  end.

Lemma count_sum m p : INR (count m p) = sum m (fun i => if p i then 1 else 0).
Proof. induction m as [|m IH]; [reflexivity|]. simpl. rewrite plus_INR, IH. destruct (p m); reflexivity. Qed.

Lemma count_add a b p : count (a + b) p = (count a p + count b (fun i => p (a + i)))%nat.
Proof.
  induction b as [|b IH]; [rewrite Nat.add_0_r; simpl; lia|].
  rewrite Nat.add_succ_r. simpl. rewrite IH. lia.
Qed.

Lemma count_none m p : (forall i, (i < m)%nat -> p i = false) -> count m p = O.
Proof.
  induction m as [|m IH]; intros none; [reflexivity|]. simpl. rewrite IH, none; [reflexivity | lia | intros; apply none; lia].
Qed.

(** At most one, where no two satisfy p. *)
Lemma count_unique m p :
  (forall i i', (i < m)%nat -> (i' < m)%nat -> p i = true -> p i' = true -> i = i') -> (count m p <= 1)%nat.
Proof.
  induction m as [|m IH]; intros unique; [simpl; lia|]. simpl. destruct (p m) eqn:last.
  - rewrite count_none; [lia|]. intros i below. destruct (p i) eqn:also; [|reflexivity].
    assert (i = m) by (apply unique; auto; lia). lia.
  - rewrite Nat.add_0_r. apply IH. intros i i' below below'. apply unique; lia.
Qed.

Lemma count_some m p i : (i < m)%nat -> p i = true -> (1 <= count m p)%nat.
Proof.
  intros below holds. replace m with (i + S (m - S i))%nat by lia. rewrite count_add.
  rewrite <- (Nat.add_1_l (m - S i)), count_add. simpl. rewrite Nat.add_0_r, holds. lia.
Qed.

(** At most q among m <= q n, where there is at most one in every block of n. *)
Lemma count_blocks n q m p :
  (forall b, count n (fun t => p (b * n + t)%nat) <= 1)%nat -> (m <= q * n)%nat -> (count m p <= q)%nat.
Proof.
  intros one few. apply Nat.le_trans with (count (q * n) p).
  - replace (q * n)%nat with (m + (q * n - m))%nat by lia. rewrite count_add. lia.
  - clear few. induction q as [|q IH]; [simpl; lia|].
    replace (S q * n)%nat with (q * n + n)%nat by lia. rewrite count_add. specialize (one q). lia.
Qed.

(** ** Copies *)

(** Whether output i is a copy of input j. *)
Definition reads (index : nat -> option nat) (i j : nat) : bool :=
  match index i with
  | Some k => Nat.eqb k j
  | None => false
  end.

(** The matrix of x -> y, y_i = x_(index i), or 0 where there is no index. *)
Definition copying (index : nat -> option nat) : mat := fun i j => if reads index i j then 1 else 0.

(** How many of the m outputs are copies of input j. *)
Definition copies (m : nat) (index : nat -> option nat) (j : nat) : nat := count m (fun i => reads index i j).

Lemma reads_true index i j : reads index i j = true <-> index i = Some j.
Proof.
  unfold reads. destruct (index i) as [k|]; [|split; discriminate].
  rewrite Nat.eqb_eq. split; [intros ->; reflexivity | intros same; injection same; auto].
Qed.

(** An index beyond the n inputs reads 0. *)
Lemma apply_copying n index x i :
  apply n (copying index) x i = match index i with Some j => if (j <? n)%nat then x j else 0 | None => 0 end.
Proof.
  unfold apply, dot, copying, reads. destruct (index i) as [k|]; [|apply sum_zero; intros; ring].
  destruct (Nat.ltb_spec k n) as [below|beyond].
  - rewrite (sum_only n _ k below); [rewrite Nat.eqb_refl; ring|].
    intros j _ other. rewrite (proj2 (Nat.eqb_neq k j)) by auto. ring.
  - apply sum_zero; intros j below. rewrite (proj2 (Nat.eqb_neq k j)) by lia. ring.
Qed.

(** |copies of x|^2: the square of every entry, times the number of its copies. *)
Theorem square_copying n m index x :
  square m (apply n (copying index) x) = sum n (fun j => INR (copies m index j) * (x j * x j)).
Proof.
  transitivity (sum m (fun i => sum n (fun j => (if reads index i j then 1 else 0) * (x j * x j)))).
  - apply sum_ext; intros i _. rewrite apply_copying. unfold reads. destruct (index i) as [k|].
    + destruct (Nat.ltb_spec k n) as [below|beyond].
      * rewrite (sum_only n _ k below); [rewrite Nat.eqb_refl; ring|].
        intros j _ other. rewrite (proj2 (Nat.eqb_neq k j)) by auto. ring.
      * symmetry. rewrite sum_zero; [ring|]. intros j below. rewrite (proj2 (Nat.eqb_neq k j)) by lia. ring.
    + symmetry. rewrite sum_zero; [ring|]. intros; ring.
  - rewrite sum_swap. apply sum_ext; intros j _. rewrite sum_scal_r. unfold copies. rewrite count_sum. reflexivity.
Qed.

(** ||copying||^2 <= k where no entry is copied more than k times. *)
Theorem bounded_copies n m index k :
  (forall j, (j < n)%nat -> copies m index j <= k)%nat -> bounded n m (copying index) (INR k).
Proof.
  intros few x. rewrite square_copying. unfold square, dot. rewrite <- sum_scal. apply sum_le; intros j below.
  apply Rmult_le_compat_r; [nra | apply le_INR, few, below].
Qed.

(** Norm at most 1 where no entry is copied twice: a slice, a permutation, zero padding. *)
Theorem bounded_injective n m index :
  (forall i i' j, (i < m)%nat -> (i' < m)%nat -> index i = Some j -> index i' = Some j -> i = i') ->
  bounded n m (copying index) 1.
Proof.
  intros injective. apply (bounded_copies n m index 1). intros j _. apply count_unique.
  intros i i' below below' first second. rewrite reads_true in first, second. exact (injective i i' j below below' first second).
Qed.

(** An isometry where every entry is copied exactly once. *)
Theorem copying_isometric n m index x :
  (forall j, (j < n)%nat -> copies m index j = 1%nat) -> square m (apply n (copying index) x) = square n x.
Proof.
  intros once. rewrite square_copying. apply sum_ext; intros j below. rewrite once by exact below. simpl. ring.
Qed.

(** From place [first] on, every [step]-th entry. *)
Corollary bounded_slice n m first step :
  (0 < step)%nat -> bounded n m (copying (fun i => Some (first + i * step)%nat)) 1.
Proof. intros positive. apply bounded_injective. intros i i' j _ _ [= <-] [= same]. nia. Qed.

(** n entries, [left] zeros before them: an isometry into m >= left + n. *)
Definition zero_padding (left n : nat) (i : nat) : option nat :=
  if (left <=? i)%nat && (i <? left + n)%nat then Some (i - left)%nat else None.

Corollary zero_padding_isometric n m left x :
  (left + n <= m)%nat -> square m (apply n (copying (zero_padding left n)) x) = square n x.
Proof.
  intros fits. apply copying_isometric. intros j below. apply Nat.le_antisymm.
  - apply count_unique. intros i i' _ _ first second. rewrite reads_true in first, second. unfold zero_padding in *.
    destruct (Nat.leb_spec left i), (Nat.ltb_spec i (left + n)), (Nat.leb_spec left i'), (Nat.ltb_spec i' (left + n));
      simpl in *; try discriminate. injection first; injection second; lia.
  - apply count_some with (left + j)%nat; [lia|]. rewrite reads_true. unfold zero_padding.
    destruct (Nat.leb_spec left (left + j)), (Nat.ltb_spec (left + j) (left + n)); simpl; try lia. f_equal. lia.
Qed.

(** m <= q n entries that repeat the n given ones, from any place on: circular padding has ||.||^2 <= q. *)
Definition circular_padding (shift n : nat) (i : nat) : option nat := Some ((i + shift) mod n)%nat.

Lemma same_remainder n a b : (a mod n = b mod n -> a <= b -> b < a + n -> a = b)%nat.
Proof.
  intros same low high. pose proof (Nat.div_mod a n ltac:(lia)). pose proof (Nat.div_mod b n ltac:(lia)).
  destruct (Nat.lt_trichotomy (a / n) (b / n)) as [less|[equal|more]]; nia.
Qed.

Corollary bounded_circular_padding n m shift q :
  (m <= q * n)%nat -> bounded n m (copying (circular_padding shift n)) (INR q).
Proof.
  intros few. apply bounded_copies. intros j _. apply count_blocks with n; [|exact few]. intros b.
  apply count_unique. intros t t' below below' first second. rewrite reads_true in first, second.
  unfold circular_padding in *. injection first; injection second; intros <- same.
  destruct (Nat.le_ge_cases t t').
  - apply (same_remainder n) in same; lia.
  - symmetry in same. apply (same_remainder n) in same; lia.
Qed.

(** ** Diagonal maps *)

Definition diagonal (d : vec) : mat := fun i j => if Nat.eqb i j then d i else 0.

Lemma apply_diagonal n d x i : (i < n)%nat -> apply n (diagonal d) x i = d i * x i.
Proof.
  intros below. unfold apply, dot, diagonal. rewrite (sum_only n _ i below); [rewrite Nat.eqb_refl; reflexivity|].
  intros j _ other. rewrite (proj2 (Nat.eqb_neq i j)) by auto. ring.
Qed.

(** ||diagonal d||^2 <= s where d_i^2 <= s for all i. *)
Theorem bounded_diagonal n d s : (forall i, (i < n)%nat -> d i * d i <= s) -> bounded n n (diagonal d) s.
Proof.
  intros each x. rewrite (square_ext n _ (fun i => d i * x i)) by (intros i below; apply apply_diagonal, below).
  unfold square, dot. rewrite <- sum_scal. apply sum_le; intros i below. specialize (each i below).
  replace (d i * x i * (d i * x i)) with (d i * d i * (x i * x i)) by ring.
  apply Rmult_le_compat_r; [nra | exact each].
Qed.

(** ** Isometric maps: <A_j, A_k> = 1 where j = k, else 0, for the columns of A, of m rows *)

Definition orthonormal (n m : nat) (A : mat) : Prop :=
  forall j k, (j < n)%nat -> (k < n)%nat -> dot m (transpose A j) (transpose A k) = if Nat.eqb j k then 1 else 0.

Theorem orthonormal_isometric n m A x : orthonormal n m A -> square m (apply n A x) = square n x.
Proof.
  intros columns. unfold square. rewrite adjoint. apply dot_ext; [reflexivity|]. intros j below.
  unfold apply at 1. rewrite dot_sym, adjoint. unfold dot at 1. rewrite (sum_only n _ j below).
  - change (apply m (transpose A) (transpose A j) j) with (dot m (transpose A j) (transpose A j)).
    rewrite columns, Nat.eqb_refl by exact below. ring.
  - intros k small other. change (apply m (transpose A) (transpose A j) k) with (dot m (transpose A k) (transpose A j)).
    rewrite columns by assumption. rewrite (proj2 (Nat.eqb_neq k j)) by exact other. ring.
Qed.

Corollary bounded_orthonormal n m A : orthonormal n m A -> bounded n m A 1.
Proof. intros columns x. rewrite (orthonormal_isometric n m A x columns). lra. Qed.

(** ** Products: ||B A||^2 <= t s, so that a product of partial isometries has norm at most 1 *)

(** B A, where B has k columns and A has k rows. *)
Definition matrix_product (k : nat) (B A : mat) : mat := fun i j => sum k (fun l => B i l * A l j).

Lemma apply_product n k B A x i : apply n (matrix_product k B A) x i = apply k B (apply n A x) i.
Proof.
  unfold apply, dot, matrix_product.
  rewrite (sum_ext n _ (fun j => sum k (fun l => B i l * A l j * x j))) by (intros j _; rewrite sum_scal_r; reflexivity).
  rewrite sum_swap. apply sum_ext; intros l _. rewrite <- sum_scal. apply sum_ext; intros j _. ring.
Qed.

Theorem bounded_product n k m B A s t :
  0 <= t -> bounded n k A s -> bounded k m B t -> bounded n m (matrix_product k B A) (t * s).
Proof.
  intros nonneg known_A known_B x. rewrite (square_ext m _ (apply k B (apply n A x))) by (intros; apply apply_product).
  apply Rle_trans with (t * square k (apply n A x)); [apply known_B|].
  rewrite Rmult_assoc. apply Rmult_le_compat_l; [exact nonneg | apply known_A].
Qed.
